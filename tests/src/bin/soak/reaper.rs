//! Starts writers and daemons, pauses them, kills them, and starts them again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use squire_tests::{
    bank::fate::{Fate, Fates, Freeze, When},
    crew::Member,
    daemon::Daemon,
    process::signal,
};
use tokio::{process::Command, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    DAEMONS, PATIENCE, Result, Site, WRITERS,
    order::{Until, Write},
};

/// All processes of a soak.
pub(crate) struct Reaper {
    site: Arc<Site>,
    seed: u64,
    counts: Arc<Counts>,
}

/// What was done to them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) writers_killed: AtomicU64,
    pub(crate) daemons_killed: AtomicU64,
    pub(crate) paused: AtomicU64,
    lives: AtomicU64,
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::SeqCst);
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::SeqCst)
}

impl Counts {
    fn killed(&self) -> u64 {
        read(&self.writers_killed) + read(&self.daemons_killed)
    }
}

impl Reaper {
    pub(crate) fn new(site: Arc<Site>, seed: u64) -> Self {
        Self {
            site,
            seed,
            counts: Arc::default(),
        }
    }

    /// Processes that were killed so far.
    pub(crate) fn killed(&self) -> u64 {
        self.counts.killed()
    }

    /// How many writers were killed, how many daemons, and how many processes were paused.
    pub(crate) fn counts(&self) -> [u64; 3] {
        let Counts {
            writers_killed,
            daemons_killed,
            paused,
            ..
        } = &*self.counts;
        [writers_killed, daemons_killed, paused].map(read)
    }

    /// All writers, each for a life without an end.
    pub(crate) fn writers(&self) -> Result<Vec<Member>> {
        let start = |writer| {
            let seed = self.seed.wrapping_add(self.killed());
            start_writer(&self.site, writer, seed, None)
        };
        (0..WRITERS).map(start).collect()
    }

    /// All daemons.
    pub(crate) async fn daemons(&self) -> Result<Vec<Daemon>> {
        let mut daemons = Vec::new();
        for daemon in 0..DAEMONS {
            daemons.push(start_daemon(&self.site, daemon, &self.counts).await?);
        }
        Ok(daemons)
    }

    /// Kills a writer.
    pub(crate) async fn kill(&self, writer: Member) -> Result {
        writer.kill().await?;
        add(&self.counts.writers_killed);
        Ok(())
    }

    /// Kills and restarts everybody until it is over. The daemons that were started last go on.
    ///
    /// # Errors
    /// When a process ends by itself, or nothing moves any more.
    pub(crate) async fn storm(&self, until: Until) -> Result<Vec<Daemon>> {
        let over = CancellationToken::new();
        let mut lives = JoinSet::new();
        for process in 0..WRITERS + DAEMONS {
            let fates = Fates::of(self.seed, process, process < WRITERS);
            let (site, counts, over) = (self.site.clone(), self.counts.clone(), over.clone());
            lives.spawn(async move {
                if process < WRITERS {
                    haunt_writer(&site, process, fates, &counts, &over).await?;
                    Ok(None)
                } else {
                    haunt_daemon(&site, process - WRITERS, fates, &counts, &over)
                        .await
                        .map(Some)
                }
            });
        }
        let watch = self.watch(until, &over);
        let mut daemons = Vec::new();
        let ends = async {
            while let Some(ended) = lives.join_next().await {
                daemons.extend(ended??);
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(daemons)
        };
        let (daemons, ()) = tokio::try_join!(ends, watch)?;
        Ok(daemons)
    }

    /// Calls the storm off when it is over.
    async fn watch(&self, until: Until, over: &CancellationToken) -> Result {
        let (started, begun) = (Instant::now(), self.killed());
        let (mut last, mut moved) = (begun, Instant::now());
        loop {
            sleep(Duration::from_millis(50)).await;
            let killed = self.killed();
            let is_over = match until {
                Until::Kills(kills) => killed - begun >= kills,
                Until::Time(time) => started.elapsed() >= time,
            };
            if is_over {
                over.cancel();
                return Ok(());
            }
            if killed > last {
                (last, moved) = (killed, Instant::now());
            }
            if moved.elapsed() > PATIENCE {
                return Err(format!("nothing has moved for {PATIENCE:?}").into());
            }
        }
    }
}

fn start_writer(site: &Site, writer: usize, seed: u64, freeze: Option<Freeze>) -> Result<Member> {
    let order = Write {
        root: site.uri(),
        ledger: site.ledger(writer),
        writer,
        seed,
        freeze,
    };
    let program = std::env::current_exe()?;
    Ok(Member::of(Command::new(program).args(order.to_args()))?)
}

async fn start_daemon(site: &Site, daemon: usize, counts: &Counts) -> Result<Daemon> {
    let life = counts.lives.fetch_add(1, Ordering::SeqCst);
    Ok(Daemon::start(&site.config(), &site.log(daemon, life)).await?)
}

/// One writer's lives, until the storm is over.
async fn haunt_writer(
    site: &Site,
    writer: usize,
    mut fates: Fates,
    counts: &Counts,
    over: &CancellationToken,
) -> Result {
    while !over.is_cancelled() {
        let fate = fates.draw();
        let freeze = match fate.when {
            When::At(freeze) => Some(freeze),
            When::AtLine(_) | When::After(_) => None,
        };
        let mut member = start_writer(site, writer, fate.seed, freeze)?;
        let stopped = async {
            match fate.when {
                When::After(delay) => sleep(delay).await,
                When::At(_) | When::AtLine(_) => member.stands().await?,
            }
            Ok::<_, std::io::Error>(())
        };
        tokio::select! {
            stopped = stopped => stopped?,
            () = over.cancelled() => {}
        }
        if let (Some(id), Some(_)) = (member.id(), fate.pause) {
            pause(id, fate, counts, async || {
                if freeze.is_some() {
                    member.go_on().await?;
                }
                Ok(())
            })
            .await?;
        }
        member.kill().await?;
        add(&counts.writers_killed);
    }
    Ok(())
}

/// One daemon's lives, until the storm is over; the last one goes on.
async fn haunt_daemon(
    site: &Site,
    number: usize,
    mut fates: Fates,
    counts: &Counts,
    over: &CancellationToken,
) -> Result<Daemon> {
    loop {
        let fate = fates.draw();
        let mut daemon = start_daemon(site, number, counts).await?;
        let stopped = async {
            match fate.when {
                When::After(delay) => sleep(delay).await,
                When::AtLine(lines) => {
                    for _ in 0..=lines {
                        daemon.next_line().await;
                    }
                }
                When::At(_) => {}
            }
        };
        tokio::select! {
            () = stopped => {}
            () = over.cancelled() => return Ok(daemon),
        }
        if let (Some(id), Some(_)) = (daemon.id(), fate.pause) {
            pause(id, fate, counts, async || Ok(())).await?;
        }
        daemon.kill().await?;
        add(&counts.daemons_killed);
    }
}

/// SIGSTOP, a sleep, SIGCONT, and a moment of life.
async fn pause(
    id: u32,
    fate: Fate,
    counts: &Counts,
    go_on: impl AsyncFnOnce() -> std::io::Result<()>,
) -> Result {
    if let Some((asleep, awake)) = fate.pause {
        signal(id, "STOP").await?;
        sleep(asleep).await;
        signal(id, "CONT").await?;
        go_on().await?;
        add(&counts.paused);
        sleep(awake).await;
    }
    Ok(())
}
