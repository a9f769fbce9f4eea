//! Fragments that are rewritten together.

/// What one file fewer is worth to each reader of a table: what it could read in the time of opening one.
pub const FILE_BYTES: u64 = 1 << 20;

/// Fragments that become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their ids, in the table's order.
    pub fragments: Vec<u64>,
    /// Live rows that the rewrite keeps.
    pub rows: u64,
    /// Bytes that the rewrite reads.
    pub bytes: u64,
    /// Bytes that it is expected to leave.
    pub live_bytes: u64,
    /// What covers its fragments, see [`FragmentStats::coverage`].
    pub coverage: u32,
}

impl Group {
    /// What the rewrite spares every later reader, in bytes: files that it need not open, dead rows that it need not
    /// read.
    pub fn saved(&self) -> u64 {
        let fewer = self.fragments.len().saturating_sub(1) as u64;
        let dead = self.bytes.saturating_sub(self.live_bytes);
        FILE_BYTES.saturating_mul(fewer).saturating_add(dead)
    }
}
