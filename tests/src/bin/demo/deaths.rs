//! Writers that are killed in the middle of their work, and what becomes of it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use squire_engine::{
    Graph, LoadMode, Snapshot,
    manifest::{Ticket, TicketState},
};
use squire_tests::{
    crew::{Member, Order, Stand, Work},
    flights::key,
    show::{count, say, seconds},
    store::Moment,
};
use tokio::time::sleep;

use crate::{
    Result,
    keeping::{Keeping, LEASE},
    ledger::Writer,
};

/// What a death is told with.
pub(crate) struct Scene<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) uri: &'a str,
    pub(crate) dir: &'a Path,
    pub(crate) writer: &'a mut Writer,
    pub(crate) keeping: &'a mut Keeping,
}

impl Scene<'_> {
    /// A process loads rows into several tables and is killed once the first of them is committed. Until the daemon
    /// has healed it, this process goes on with these loads of flights.
    pub(crate) async fn in_a_load(
        &mut self,
        tables: &[(&str, RecordBatch)],
        flights: &mut impl Iterator<Item = RecordBatch>,
    ) -> Result {
        let mut files = Vec::new();
        for (name, rows) in tables {
            self.writer.ledger.add(name, rows)?;
            let file = self.dir.join(format!("{}.parquet", key(name).name()));
            write(&file, rows)?;
            files.push((LoadMode::Append, (*name).to_owned(), file));
        }
        let (first, _) = tables.first().ok_or("a load needs tables")?;
        let order = Order {
            root: self.uri.to_owned(),
            actor: "second-writer@demo".to_owned(),
            lease: LEASE,
            stands: vec![after_the_commit_to(first)],
            work: Work::Load(files),
        };
        self.death(&order, flights, rows_of).await
    }

    /// The same with a schema: one more column for planes, and another name for a column of airports.
    pub(crate) async fn in_a_schema_apply(
        &mut self,
        now: &str,
        flights: &mut impl Iterator<Item = RecordBatch>,
    ) -> Result {
        let wanted = now
            .replace(
                "alt = \"int32\"",
                "altitude = { type = \"int32\", renamed_from = \"alt\" }",
            )
            .replace(
                "engine = \"string\"",
                "engine = \"string\"\nretired = \"bool\"",
            );
        let file = self.dir.join("new-schema.toml");
        std::fs::write(&file, wanted)?;
        self.writer
            .ledger
            .rename("node:Airport", "alt", "altitude")?;
        let order = Order {
            root: self.uri.to_owned(),
            actor: "operator@demo".to_owned(),
            lease: LEASE,
            stands: vec![after_the_commit_to("node:Airport")],
            work: Work::Schema(file),
        };
        self.death(&order, flights, columns_of).await
    }

    /// One death; `seen` says what a reader sees of its tables.
    async fn death(
        &mut self,
        order: &Order,
        flights: &mut impl Iterator<Item = RecordBatch>,
        seen: impl AsyncFn(&Snapshot, &Ticket) -> Result<String>,
    ) -> Result {
        let mut member = Member::start(order)?;
        member.stands().await?;
        let id = member.id().unwrap_or_default();
        member.kill().await?;
        let died = Instant::now();
        let ticket = self.ticket_of(&order.actor).await?;
        say(format!(
            "   Process {id} is killed (SIGKILL) in its {}: {}.",
            ticket.kind,
            self.stage(&ticket).await?
        ));
        say(format!(
            "   A reader sees the state before it, whole: {}.",
            seen(&self.graph.snapshot().await?, &ticket).await?
        ));
        let operation = ticket.operation.to_string();
        let (mut loads, mut slowest) = (0, Duration::ZERO);
        while !self.keeping.healed.contains(&operation) {
            match flights.next() {
                Some(rows) => {
                    let began = Instant::now();
                    self.writer.load(vec![("edge:Flight", rows)]).await?;
                    slowest = slowest.max(began.elapsed());
                    loads += 1;
                }
                None => sleep(Duration::from_millis(50)).await,
            }
            self.keeping.listen();
        }
        say(format!(
            "   That was {} after its death, with nothing restarted. Meanwhile the first writer loaded flights {loads} times; the slowest load took {}.",
            seconds(died.elapsed()),
            seconds(slowest)
        ));
        say(format!(
            "   Now a reader sees all of it: {}.",
            seen(&self.graph.snapshot().await?, &ticket).await?
        ));
        Ok(())
    }

    /// The ticket that the dead left in the queue.
    async fn ticket_of(&self, actor: &str) -> Result<Ticket> {
        let snapshot = self.graph.snapshot().await?;
        let mut queue = snapshot.manifest().queue.iter();
        let ticket = queue.find(|ticket| ticket.actor == actor);
        Ok(ticket.ok_or("the dead left no ticket")?.clone())
    }

    /// How far it had come.
    async fn stage(&self, ticket: &Ticket) -> Result<String> {
        let TicketState::Decided { bases } = &ticket.state else {
            return Ok("not decided yet".to_owned());
        };
        let snapshot = self.graph.snapshot().await?;
        let mut committed = 0;
        for (table, base) in bases {
            let head = snapshot.open(table).await?.latest_version_id().await;
            committed += usize::from(head? > *base);
        }
        Ok(format!(
            "decided; {committed} of {} tables committed",
            bases.len()
        ))
    }
}

/// The rows of the tables that an operation touches.
async fn rows_of(snapshot: &Snapshot, ticket: &Ticket) -> Result<String> {
    let mut seen = Vec::new();
    for table in ticket.touched.all() {
        let rows = snapshot.stats(table).await?.rows();
        seen.push(format!("{} {}", table.name(), count(rows)));
    }
    Ok(seen.join(", "))
}

/// The columns that the schema apply is about, in the tables themselves.
async fn columns_of(snapshot: &Snapshot, ticket: &Ticket) -> Result<String> {
    let mut seen = Vec::new();
    for table in ticket.touched.writes.iter() {
        let dataset = snapshot.open(table).await?;
        let fields = dataset.schema().fields.iter().map(|field| &*field.name);
        let columns: Vec<_> = fields
            .filter(|name| ["alt", "altitude", "engine", "retired"].contains(name))
            .collect();
        seen.push(format!("{} has {}", table.name(), columns.join(" and ")));
    }
    Ok(seen.join(", "))
}

/// Freezes a process once a table has its new version.
fn after_the_commit_to(table: &str) -> Stand {
    let part = format!("{}.lance/_versions/", key(table).name());
    Stand::frozen(Moment::After, &part)
}

fn write(file: &PathBuf, rows: &RecordBatch) -> Result {
    let mut writer = ArrowWriter::try_new(File::create(file)?, rows.schema(), None)?;
    writer.write(rows)?;
    writer.close()?;
    Ok(())
}
