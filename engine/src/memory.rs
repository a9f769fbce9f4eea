//! One figure for the memory of the process, and what it means for each part of it.
//!
//! Lance has a default for each of its caches and buffers, chosen for a machine that it has for itself; together they are many
//! gigabytes. Here one budget is divided among them:
//!
//! ```text
//! budget ─┬─ overhead   code, stacks, what the allocator keeps, the daemon's own books
//!         ├─ caches     Lance's index and metadata caches, those that all jobs share
//!         └─ jobs       as many as fit; each has one share: caches of its own, the buffer of what is read, decoded
//!                       batches, what is sorted, shuffled or inverted, and parts of files on their way to the store
//! ```
//!
//! Some of Lance's limits are options, which the engine sets where it calls; others can only be set in the environment
//! before the process starts. [`Limits::environment`] has those: a program that wants them starts itself once more (`daemon/src/memory.rs`).
//! Rows in memory are bounded in `table/` (`rewrite.rs`, `batches.rs`, `pieces.rs`, `row_sizes/`, `verify/`, `indexing/`, manifests in `listing.rs`), the
//! number of jobs in the daemon's `job_slots.rs`, caches in `storage/mod.rs`.

use std::{collections::BTreeMap, sync::OnceLock};

use arrow_schema::DataType;

const MIB: u64 = 1 << 20;

/// What the process takes besides caches and jobs. Most of it is code: about 140 MiB of a build without optimisation.
const OVERHEAD: u64 = 160 * MIB;
/// The least that a job can do with.
const SMALLEST_JOB: u64 = 64 * MIB;
/// More than this is of no use to a cache: the metadata of a large table is some megabytes.
const LARGEST_CACHE: u64 = 512 * MIB;
/// More than this is of no use to one scan.
const LARGEST_IO_BUFFER: u64 = 512 * MIB;
/// A row with a vector of a thousand numbers.
const WIDE_ROW: u64 = 4 << 10;
/// A batch never has more rows.
pub(crate) const MOST_ROWS: usize = 8192;
/// A part of a multipart upload, as Lance cuts them in the beginning.
const UPLOAD_PART: u64 = 5 * MIB;
/// A job with so much memory leaves room for what the allocator keeps.
const ROOMY: u64 = 256 * MIB;

static LIMITS: OnceLock<Limits> = OnceLock::new();

/// What each part of the process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The whole, in bytes.
    pub budget: u64,
    /// Jobs at once.
    pub jobs: usize,
    /// What one job may take, in bytes.
    pub job: u64,
    /// What each of Lance's two caches may take that all jobs share: of indexes, and of tables' metadata.
    pub cache: u64,
}

impl Limits {
    /// The budget of a process that was not given one: 1 GiB.
    pub const DEFAULT_BUDGET: u64 = 1024 * MIB;
    /// The least budget that there is: 256 MiB.
    pub const SMALLEST_BUDGET: u64 = 256 * MIB;

    /// Divides a budget in bytes. Where it is too small for that many jobs at once, there are fewer. A budget below
    /// [`Self::SMALLEST_BUDGET`] is taken for that.
    pub fn of(budget: u64, jobs: usize) -> Self {
        let budget = budget.max(Self::SMALLEST_BUDGET);
        let divided = budget - OVERHEAD;
        let cache = (divided / 8).min(LARGEST_CACHE);
        let for_jobs = divided - 2 * cache;
        let fitting = for_jobs / SMALLEST_JOB;
        let jobs = jobs.clamp(1, usize::try_from(fitting).unwrap_or(usize::MAX).max(1));
        Self {
            budget,
            jobs,
            job: for_jobs / jobs as u64,
            cache,
        }
    }

    /// What each of the two caches may take in a job that has its own.
    pub fn job_cache(&self) -> u64 {
        self.job / 8
    }

    /// The largest manifest that is read: Lance reads it as a whole, and may hold it twice.
    pub fn manifest(&self) -> u64 {
        self.budget / 4
    }

    /// Bytes that a scan reads ahead of what is decoded.
    pub fn io_buffer(&self) -> u64 {
        (self.job / 4).min(LARGEST_IO_BUFFER)
    }

    /// Bytes that are sorted, inverted or trained on for an index before the rest goes to disk or has to wait.
    pub fn gathered(&self) -> u64 {
        self.job / 3
    }

    /// Bytes of rows that a job has in one batch. It has several batches at once: those that are decoded, the one that is
    /// written, and what is made of it on its way to the store.
    pub fn batch_bytes(&self) -> u64 {
        self.job / 64
    }

    /// Bytes of a batch whose rows are larger than was expected.
    pub fn largest_batch(&self) -> u64 {
        self.job / 16
    }

    /// The largest row that a job can handle, in bytes: alone in its batch, and all of it as often in memory as a batch is.
    pub fn largest_row(&self) -> u64 {
        self.job / 8
    }

    /// Rows that a job handles at once, when each has this many bytes: the wider the rows, the fewer.
    pub fn batch_rows(&self, row_bytes: u64) -> usize {
        let rows = self.batch_bytes() / row_bytes.max(1);
        usize::try_from(rows)
            .unwrap_or(usize::MAX)
            .clamp(1, MOST_ROWS)
    }

    /// Threads that decode, sort and compare. Each has a batch or two of its own.
    pub fn threads(&self) -> usize {
        let useful = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let fitting = self.job / (32 * MIB);
        usize::try_from(fitting)
            .unwrap_or(usize::MAX)
            .clamp(1, useful)
    }

    /// Variables that Lance and the allocator read when the process starts, or at first use.
    pub fn environment(&self) -> BTreeMap<&'static str, String> {
        let mib = |bytes: u64| (bytes / MIB).max(1);
        // A part of an upload that has a block of its own is mapped, cleared and unmapped, which costs more than writing it.
        let (large, kept) = if self.job >= ROOMY {
            (UPLOAD_PART + 3 * MIB, 32 * MIB)
        } else {
            (MIB, MIB)
        };
        let variables = [
            // Of each scan that names none, such as those that build and extend indexes.
            ("LANCE_DEFAULT_IO_BUFFER_SIZE", self.io_buffer()),
            ("LANCE_DEFAULT_BATCH_SIZE", self.batch_rows(WIDE_ROW) as u64),
            ("LANCE_CPU_THREADS", self.threads() as u64),
            // What is sorted for a scalar index; the rest goes to disk.
            ("LANCE_MEM_POOL_SIZE", self.gathered()),
            // What is gathered for a vector index before it goes to disk.
            ("LANCE_SHUFFLE_BATCH_BYTES", self.job / 8),
            ("LANCE_SHUFFLE_MAX_PRELOADED_OFFSETS_BYTES", self.job / 8),
            // One worker of a full-text index, and what it gathers, in MiB.
            ("LANCE_FTS_NUM_SHARDS", 1),
            ("LANCE_FTS_PARTITION_SIZE", mib(self.gathered())),
            // Of eight bytes each, more or less.
            ("LANCE_NGRAM_TOKENS_PER_SPILL", self.gathered() / 8),
            (
                "LANCE_UPLOAD_CONCURRENCY",
                (self.job / 8 / UPLOAD_PART).clamp(1, 10),
            ),
            // Freed memory goes back to the machine: few arenas that keep some, and blocks of their own for what is large.
            ("MALLOC_ARENA_MAX", 2),
            ("MALLOC_MMAP_THRESHOLD_", large),
            ("MALLOC_TRIM_THRESHOLD_", kept),
        ];
        variables
            .into_iter()
            .map(|(name, value)| (name, value.to_string()))
            .collect()
    }

    /// Those of [`Self::environment`] that this process was started without. What an operator has set by hand stays.
    pub fn missing_environment(&self) -> BTreeMap<&'static str, String> {
        let mut variables = self.environment();
        variables.retain(|name, _| std::env::var_os(name).is_none());
        variables
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(Self::DEFAULT_BUDGET, 2)
    }
}

/// Sets the limits of this process, once: before the first graph or directory is opened. Gives those that hold, which are
/// earlier ones when another caller was faster.
pub fn limit(limits: Limits) -> Limits {
    *LIMITS.get_or_init(|| limits)
}

/// The limits of this process.
pub fn limits() -> Limits {
    *LIMITS.get_or_init(Limits::default)
}

/// Bytes of one value, when all values of the type have as many.
pub(crate) fn width(of: &DataType) -> Option<u64> {
    match of {
        DataType::Null => Some(0),
        DataType::Boolean => Some(1),
        DataType::FixedSizeBinary(bytes) => u64::try_from(*bytes).ok(),
        DataType::FixedSizeList(item, length) => {
            Some(width(item.data_type())? * u64::try_from(*length).ok()?)
        }
        DataType::Struct(fields) => fields.iter().map(|f| width(f.data_type())).sum(),
        other => other.primitive_width().map(|bytes| bytes as u64),
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::Field;
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    proptest! {
        #[test]
        fn the_parts_are_no_more_than_the_whole(budget in 0..64 * GIB, jobs in 0..300_usize) {
            let limits = Limits::of(budget, jobs);
            let parts = 2 * limits.cache + limits.job * limits.jobs as u64;
            prop_assert!(OVERHEAD + parts <= limits.budget);
            prop_assert!(limits.budget == budget.max(Limits::SMALLEST_BUDGET));
        }

        #[test]
        fn every_job_has_what_it_needs_and_there_are_no_more_jobs_than_wanted(
            budget in 0..64 * GIB,
            jobs in 1..300_usize,
        ) {
            let limits = Limits::of(budget, jobs);
            prop_assert!((1..=jobs).contains(&limits.jobs));
            prop_assert!(limits.job >= SMALLEST_JOB, "{limits:?}");
        }

        #[test]
        fn a_larger_budget_gives_no_part_less(budget in 0..64 * GIB, more in 0..GIB) {
            let (small, large) = (Limits::of(budget, 1), Limits::of(budget + more, 1));
            prop_assert!(small.job <= large.job && small.cache <= large.cache);
            prop_assert!(small.batch_rows(2048) <= large.batch_rows(2048));
        }

        #[test]
        fn a_batch_is_a_small_part_of_a_job_or_one_row(row_bytes in 1..100_000_000_u64) {
            let limits = Limits::default();
            let rows = limits.batch_rows(row_bytes) as u64;
            prop_assert!(rows == 1 || rows * row_bytes <= limits.batch_bytes());
        }
    }

    #[test]
    fn a_budget_that_is_too_small_for_two_jobs_has_one() {
        assert_eq!(Limits::of(Limits::SMALLEST_BUDGET, 2).jobs, 1);
        assert_eq!(Limits::of(GIB, 2).jobs, 2);
    }

    #[test]
    fn every_variable_is_a_number_above_zero() {
        let environment = Limits::of(0, 1).environment();
        assert!(
            environment
                .values()
                .all(|v| v.parse::<u64>().is_ok_and(|v| v > 0))
        );
    }

    #[test]
    fn a_vector_is_as_wide_as_its_type_and_a_text_as_wide_as_what_it_says() {
        let item = Field::new("item", DataType::Float32, true);
        let vector = DataType::FixedSizeList(item.into(), 512);
        assert_eq!(width(&vector), Some(4 * 512));
        assert_eq!(width(&DataType::Utf8), None);
    }
}
