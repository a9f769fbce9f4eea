//! A day of the daemon's work at a hundred times its pace: ten seconds between two polls are a tenth of one. What it takes
//! of the machine, hour by hour, and how much it logs: for half a day all is well, for the other half three targets are
//! down.

use std::time::{Duration, Instant};

use squire_tests::show;

use crate::{
    faults::Fault,
    footprint::Footprint,
    world::{self, World},
};

/// An hour at this pace.
const HOUR: Duration = Duration::from_secs(36);
const HALF_A_DAY: usize = 12;
/// Of each target, so many writes an hour.
const WRITES: usize = 4;
/// A disk that hangs, a volume that is not there, and a store that answers nothing.
const DOWN: [Fault; 3] = [
    Fault::DiskHangs(3),
    Fault::VolumeVanishes(5),
    Fault::StoreHangs(18),
];

/// What an hour took at its end, and what was logged in it.
struct Hour {
    footprint: Footprint,
    tasks: f64,
    /// Lines about jobs, and all others.
    jobs: usize,
    others: usize,
}

/// Half a day, in which all targets but those are written.
async fn half(world: &World, name: &str, down: &[Fault]) -> Vec<Hour> {
    let written = (0..world::TARGETS).filter(|n| !down.iter().any(|f| f.target() == Some(*n)));
    let written: Vec<_> = written.collect();
    let mut hours: Vec<Hour> = Vec::new();
    for hour in 1..=HALF_A_DAY {
        let (began, (jobs, others)) = (Instant::now(), world.log_lines());
        for write in 1..=WRITES {
            for target in &written {
                world.write(*target).await;
            }
            let until = HOUR.mul_f64(write as f64 / WRITES as f64);
            tokio::time::sleep(until.saturating_sub(began.elapsed())).await;
        }
        let (jobs_after, others_after) = world.log_lines();
        let hour_ended = Hour {
            footprint: world.footprint_now(),
            tasks: world.tasks().await,
            jobs: jobs_after - jobs,
            others: others_after - others,
        };
        show::say(format!(
            "{name}, hour {hour:>2}: {}, {} tasks; {} lines of jobs, {} others",
            hour_ended.footprint, hour_ended.tasks, hour_ended.jobs, hour_ended.others
        ));
        hours.push(hour_ended);
    }
    hours
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a quarter of an hour: `make chaos` runs it"]
async fn in_a_day_nothing_grows_and_the_log_stays_short_also_while_three_targets_are_down() {
    let mut world = World::new().await;
    let well = half(&world, "all is well", &[]).await;
    for fault in DOWN {
        world.cause(fault).await;
    }
    let down = half(&world, "three are down", &DOWN).await;
    for hours in [&well, &down] {
        // The first hour is that of caches that fill.
        let (early, late) = (&hours[1], &hours[HALF_A_DAY - 1]);
        late.footprint.is_no_larger_than(&early.footprint);
        assert!(
            late.tasks <= early.tasks + 64.0,
            "{} tasks, then {}",
            early.tasks,
            late.tasks
        );
    }
    for fault in DOWN {
        world.mend(fault).await;
    }
    for fault in DOWN {
        world.until_recovered(fault, 0).await;
    }
    world.end().await;
}
