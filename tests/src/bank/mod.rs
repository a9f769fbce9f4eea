//! A bank, to find out whether anything is ever lost, done twice or done by half.
//!
//! Its tables hold amounts. Every operation moves money between tables, so that all amounts together are nothing, and
//! so are the amounts of each single operation: in every snapshot that anybody takes. Each writer keeps a [`Ledger`] of
//! its own, of what it meant to do and what it was told about it; [`check()`] compares ledgers with a snapshot.
//!
//! | file | what is in it |
//! |---|---|
//! | this file | the tables, and what operations are made of |
//! | [`ledger`] | a writer's file of intents and answers |
//! | [`holdings`] | what a snapshot holds |
//! | [`check()`] | the comparison: a pure function |
//! | [`choice`] | what a writer does next, by a seed and its ledger |
//! | [`schema_change`] | the same for the schema |
//! | [`fate`] | when a process is killed, by a seed |

pub mod check;
pub mod choice;
pub mod fate;
pub mod holdings;
pub mod ledger;
pub mod schema_change;

use std::fmt;

use squire_engine::schema::{Schema, SchemaError};

pub use check::{Violation, check};
pub use holdings::{Holdings, Row, Shelf};
pub use ledger::{Entry, Ledger, Told};

/// What every row of a till has.
const PROPERTIES: &str = "id = { type = \"string\", required = true }\n\
    amount = { type = \"int64\", required = true }\n\
    writer = { type = \"int64\", required = true }\n\
    seq = { type = \"int64\", required = true }\n\
    note = \"string\"\n";
/// What a row of an edge has besides.
const ENDS: &str = "debtor = { type = \"string\", required = true }\n\
    creditor = { type = \"string\", required = true }\n";

/// The schema that the graph is created with.
///
/// # Errors
/// None, unless the tills are no types.
pub fn schema() -> Result<Schema, SchemaError> {
    let mut text = "[graph]\nname = \"bank\"\n".to_owned();
    for till in Till::ALL {
        let name = till.name();
        text += &if till.is_node() {
            format!("\n[node.{name}]\nkey = [\"id\"]\n[node.{name}.properties]\n{PROPERTIES}")
        } else {
            format!(
                "\n[edge.{name}]\nfrom = {{ node = \"Checking\", property = \"debtor\" }}\n\
                 to = {{ node = \"Savings\", property = \"creditor\" }}\n\
                 [edge.{name}.properties]\n{PROPERTIES}{ENDS}"
            )
        };
    }
    Schema::parse(&text, "bank.toml")
}

/// A table with money in it. A type may be renamed; its table's path stays, and is what tables are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Till {
    /// A node type.
    Checking,
    /// A node type.
    Savings,
    /// A node type.
    Cash,
    /// A node type.
    Credit,
    /// A node type that is renamed to `Office` and back.
    Branch,
    /// An edge type.
    Transfer,
    /// An edge type.
    Loan,
}

impl Till {
    /// Every till.
    pub const ALL: [Self; 7] = [
        Self::Checking,
        Self::Savings,
        Self::Cash,
        Self::Credit,
        Self::Branch,
        Self::Transfer,
        Self::Loan,
    ];

    /// The name that its type had when the graph was created.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checking => "Checking",
            Self::Savings => "Savings",
            Self::Cash => "Cash",
            Self::Credit => "Credit",
            Self::Branch => "Branch",
            Self::Transfer => "Transfer",
            Self::Loan => "Loan",
        }
    }

    /// The path of its table, for all time.
    pub fn path(self) -> String {
        format!("{}.lance", self.name())
    }

    /// The till of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|till| till.name() == name)
    }

    /// Whether it is a node type, whose rows have keys to upsert by.
    pub fn is_node(self) -> bool {
        !matches!(self, Self::Transfer | Self::Loan)
    }
}

/// Which operation of which writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// The writer, from 0.
    pub writer: usize,
    /// Its operation, from 1.
    pub seq: u64,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.writer, self.seq)
    }
}

/// One row that an operation writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    /// Into which table.
    pub till: Till,
    /// Under which key.
    pub id: String,
    /// How much.
    pub amount: i64,
}

/// What an operation is meant to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// New rows into several tables. Small ones take the short form; with an upsert among them they take the long one.
    Append {
        /// The rows. Their amounts add up to nothing, those of a part of the tables do not.
        postings: Vec<Posting>,
        /// A table into which they come by upsert.
        upsert: Option<Till>,
    },
    /// An account of the writer's own gets new amounts, in the same tables as ever, by upsert.
    Account {
        /// Which.
        account: usize,
        /// Its rows.
        postings: Vec<Posting>,
    },
    /// All rows of one append go.
    Delete {
        /// Its sequence number.
        target: u64,
    },
    /// The schema changes, and no money moves.
    Schema {
        /// The change, in words.
        change: String,
        /// The schema as it is to be, with the hints that renames need.
        wanted: Schema,
    },
}

impl Intent {
    /// The kind, as tallies name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Append { upsert: None, .. } => "append",
            Self::Append {
                upsert: Some(_), ..
            } => "append and upsert",
            Self::Account { .. } => "upsert",
            Self::Delete { .. } => "delete",
            Self::Schema { .. } => "schema apply",
        }
    }

    /// The rows that it leaves.
    pub fn postings(&self) -> &[Posting] {
        match self {
            Self::Append { postings, .. } | Self::Account { postings, .. } => postings,
            Self::Delete { .. } | Self::Schema { .. } => &[],
        }
    }
}
