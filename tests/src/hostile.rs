//! Folders that somebody made to do harm: with links, loops, pipes, devices, files of other owners, junk without end and
//! odd names; and what is around them, which nobody may change.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// Older than anything that nobody names may be.
const LONG_AGO: Duration = Duration::from_secs(40 * 24 * 3600);
/// Files with more bytes are told by their size and time alone.
const READ_IN_FULL: u64 = 1 << 20;
/// Devices that are there on every machine, by kind, major and minor number; and one that is nowhere.
const DEVICES: [[&str; 3]; 5] = [
    ["c", "1", "3"],
    ["c", "1", "5"],
    ["c", "1", "7"],
    ["c", "1", "8"],
    ["b", "7", "250"],
];

/// The folders of a table.
pub const FOLDERS: [&str; 7] = [
    "data",
    "_indices",
    "_versions",
    "_deletions",
    "_transactions",
    "_refs",
    "tree",
];

/// How many trees to make: `SQUIRE_HOSTILE`, or else so many.
pub fn trees(few: u64) -> u64 {
    number("SQUIRE_HOSTILE").unwrap_or(few)
}

/// How many files of junk to make: `SQUIRE_HOSTILE_JUNK`, or else 5,000.
pub fn junk_files() -> u64 {
    number("SQUIRE_HOSTILE_JUNK").unwrap_or(5_000)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Makes a folder with old files of names that Lance would give, some of them of other owners and closed to others.
pub fn precious(beside: &Path) -> PathBuf {
    let folder = beside.join("precious");
    let files = [
        "top.txt",
        "x.lance",
        "home/deep/thesis.docx",
        "y.bin",
        "z.arrow",
    ];
    for (n, name) in (0_u32..).zip(files) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder can be made");
        fs::write(&path, name).expect("a file can be written");
        age(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600 + n % 3 * 0o22))
            .expect("it is this user's");
        // As root alone; others own all of it.
        let _ = chown(&path, Some(1_000 + n), Some(2_000 + n));
    }
    folder
}

/// Makes a file as old as what nobody needs.
fn age(path: &Path) {
    let then = SystemTime::from(chrono::Utc::now()) - LONG_AGO;
    if let Ok(file) = File::options().write(true).open(path) {
        let _ = file.set_modified(then);
    }
}

/// A directory with a table `bad.lance`, into which everything is put that may lie there.
pub struct Hostile<'a> {
    /// The directory.
    pub root: &'a Path,
    /// What links lead to.
    pub outside: &'a Path,
}

impl Hostile<'_> {
    /// Puts something hostile into the table's folder, or beside it.
    pub fn spoil(&self, dice: &mut StdRng, round: usize) {
        let place = self.place(dice, round);
        let _ = fs::remove_dir_all(&place).or_else(|_| fs::remove_file(&place));
        match dice.random_range(0..12) {
            0 => _ = symlink(self.outside, &place),
            1 => _ = symlink(self.outside.join("x.lance"), &place),
            2 => _ = symlink(".", &place),
            3 => _ = symlink(place.file_name().unwrap_or_default(), &place),
            4 => _ = Command::new("mkfifo").arg(&place).status(),
            5 => {
                if let Ok(file) = File::create(&place) {
                    file.set_len(5 << 30).expect("it takes no room");
                }
            }
            6 => {
                let deep: PathBuf = std::iter::repeat_n("d", 200).collect();
                let _ = fs::create_dir_all(place.join(deep));
            }
            7 => self.device(dice, &place),
            8 => _ = fs::hard_link(self.outside.join("x.lance"), &place),
            9 => self.of_another(dice, &place),
            10 => {
                let _ = fs::write(&place, "old");
                age(&place);
            }
            _ => junk(&place, 50),
        }
    }

    /// Where: a file or a folder of the table, or beside it.
    fn place(&self, dice: &mut StdRng, round: usize) -> PathBuf {
        let folders = [FOLDERS.as_slice(), &["data/x", "_indices/id/deep", "."]].concat();
        let names: [&[u8]; 6] = [
            b"1.manifest",
            b"a.lance",
            b"x\ty.lance",
            b"\xff.bin",
            b"..x",
            b"#1",
        ];
        let table = self.root.join("bad.lance");
        let folder = table.join(folders.choose(dice).expect("there are some"));
        let _ = fs::create_dir_all(&folder);
        let name = std::ffi::OsStr::from_bytes(names.choose(dice).expect("there are some"));
        match dice.random_range(0..4) {
            0 => self.root.join(format!("odd-{round}.lance")),
            1 if folder != table => folder,
            _ => folder.join(name),
        }
    }

    /// A device, where this user may make one.
    fn device(&self, dice: &mut StdRng, place: &Path) {
        let device = DEVICES.choose(dice).expect("there are some");
        let made = Command::new("mknod").arg(place).args(device).output();
        made.expect("there is mknod");
    }

    /// Files and folders of another owner, who lets nobody in; the table's own folder may be among them.
    fn of_another(&self, dice: &mut StdRng, place: &Path) {
        let _ = fs::create_dir_all(place);
        let _ = fs::write(place.join("private"), "private");
        let owner = dice.random_range(1..60_000);
        for path in [place, &place.join("private"), &self.root.join("bad.lance")] {
            let _ = lchown(path, Some(owner), Some(owner));
        }
        let _ = fs::set_permissions(place, fs::Permissions::from_mode(0o000));
    }
}

/// Fills a folder with so many empty files of names that mean something to Lance, and of others.
pub fn junk(folder: &Path, files: u64) {
    let _ = fs::create_dir_all(folder);
    for n in 0..files {
        let name = match n % 5 {
            0 => format!("{n}.lance"),
            1 => format!("{n}.manifest"),
            2 => format!("{n}"),
            3 => format!("{n}.txn"),
            _ => format!("é {n}.tmp"),
        };
        let _ = File::create(folder.join(name));
    }
}

/// One file as it is: of what kind and whose it is, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
    hash: u64,
}

impl Seen {
    fn at(path: &Path, found: &Metadata) -> Self {
        let mut hasher = DefaultHasher::new();
        if found.is_symlink() {
            fs::read_link(path).expect("it is a link").hash(&mut hasher);
        } else if found.is_file() && found.len() < READ_IN_FULL {
            fs::read(path).expect("it can be read").hash(&mut hasher);
        }
        Self {
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
            inode: found.ino(),
            bytes: found.len(),
            changed: (found.mtime(), found.mtime_nsec()),
            hash: hasher.finish(),
        }
    }
}

/// Everything in a folder, but for one that is somebody else's to change. Links are not followed.
pub struct Around {
    folder: PathBuf,
    without: Option<PathBuf>,
    seen: BTreeMap<PathBuf, Seen>,
}

impl Around {
    /// All of a folder.
    pub fn of(folder: &Path) -> Self {
        Self::looked_at(folder.to_owned(), None)
    }

    /// All of a folder but for this one in it.
    pub fn without(folder: &Path, without: &Path) -> Self {
        Self::looked_at(folder.to_owned(), Some(without.to_owned()))
    }

    fn looked_at(folder: PathBuf, without: Option<PathBuf>) -> Self {
        let (mut seen, mut folders) = (BTreeMap::new(), vec![folder.clone()]);
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(&next).expect("a folder can be listed") {
                let path = entry.expect("a folder can be listed").path();
                if Some(&path) == without.as_ref() {
                    continue;
                }
                let found = path.symlink_metadata().expect("it is there");
                seen.insert(path.clone(), Seen::at(&path, &found));
                if found.is_dir() {
                    folders.push(path);
                }
            }
        }
        Self {
            folder,
            without,
            seen,
        }
    }

    /// What is gone or is not as it was.
    pub fn changed(&self) -> Vec<PathBuf> {
        let now = Self::looked_at(self.folder.clone(), self.without.clone());
        let differs = |(path, seen): &(&PathBuf, &Seen)| now.seen.get(*path) != Some(*seen);
        let changed = self.seen.iter().filter(differs);
        changed.map(|(path, _)| path.clone()).collect()
    }

    /// What was not there.
    pub fn came(&self) -> Vec<PathBuf> {
        let now = Self::looked_at(self.folder.clone(), self.without.clone());
        let is_new = |path: &PathBuf| !self.seen.contains_key(path);
        now.seen.into_keys().filter(is_new).collect()
    }

    /// # Panics
    /// When anything is not as it was.
    #[track_caller]
    pub fn assert_same(&self, when: &str) {
        let (changed, came) = (self.changed(), self.came());
        assert!(
            changed.is_empty() && came.is_empty(),
            "{when}: changed {changed:?}, came {came:?}"
        );
    }
}
