//! What a writer does next: a pure choice by its seed and its ledger.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use squire_engine::schema::Schema;

use super::{Intent, Ledger, Posting, Till, schema_change};

/// A writer with more appends than this standing deletes one.
const MOST_STANDING: usize = 25;
/// Accounts of each writer, and the tables that each has rows in.
const ACCOUNTS: [[Till; 2]; 3] = [
    [Till::Checking, Till::Savings],
    [Till::Cash, Till::Credit],
    [Till::Branch, Till::Savings],
];

/// The next operation of a writer, on a graph of this schema.
pub fn next(rng: &mut StdRng, ledger: &Ledger, writer: usize, schema: &Schema) -> Intent {
    let seq = ledger.next_seq();
    let standing = ledger.standing();
    if standing.len() > MOST_STANDING {
        return delete(rng, &standing);
    }
    match rng.random_range(0..100) {
        0..45 => append(rng, writer, seq, false),
        45..60 => append(rng, writer, seq, true),
        60..76 => account(rng, writer),
        76..84 => {
            let (change, wanted) = schema_change::next(rng, schema);
            Intent::Schema { change, wanted }
        }
        _ if standing.is_empty() => append(rng, writer, seq, false),
        _ => delete(rng, &standing),
    }
}

/// A load of every till, and its delete.
pub fn farewell() -> [Intent; 2] {
    let others = Till::ALL.len() as i64 - 1;
    let postings = Till::ALL.map(|till| Posting {
        till,
        id: "farewell".to_owned(),
        amount: if till == Till::Loan { -others } else { 1 },
    });
    let load = Intent::Append {
        postings: postings.to_vec(),
        upsert: None,
    };
    [load, Intent::Delete { target: 1 }]
}

fn append(rng: &mut StdRng, writer: usize, seq: u64, is_long: bool) -> Intent {
    let tables = rng.random_range(2..=3);
    let mut tills: Vec<_> = Till::ALL.choose_multiple(rng, tables).copied().collect();
    tills.sort();
    let (last, others) = tills.split_last().unwrap_or((&Till::Transfer, &[]));
    let mut postings = Vec::new();
    for &till in others {
        for n in 0..rng.random_range(1..=3) {
            postings.push(Posting {
                till,
                id: format!("{writer}-{seq}-{n}"),
                amount: rng.random_range(1..1_000),
            });
        }
    }
    // What some tables get the last one gives: by whichever of them are missing, the sum is another.
    let moved: i64 = postings.iter().map(|p| p.amount).sum();
    postings.push(Posting {
        till: *last,
        id: format!("{writer}-{seq}-0"),
        amount: -moved,
    });
    let upsert = tills.iter().copied().find(|till| is_long && till.is_node());
    Intent::Append { postings, upsert }
}

fn account(rng: &mut StdRng, writer: usize) -> Intent {
    let account = rng.random_range(0..ACCOUNTS.len());
    let amount = rng.random_range(1..1_000_000);
    let [to, from] = ACCOUNTS[account];
    let posting = |till, amount| Posting {
        till,
        id: format!("account-{writer}-{account}"),
        amount,
    };
    Intent::Account {
        account,
        postings: vec![posting(to, amount), posting(from, -amount)],
    }
}

fn delete(rng: &mut StdRng, standing: &[u64]) -> Intent {
    let target = standing.choose(rng).copied().unwrap_or_default();
    Intent::Delete { target }
}
