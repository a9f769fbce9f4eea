//! Which line of a text file a row stands on.
//!
//! Asked only when an error is reported, so the file is simply read again.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

/// How rows stand in a text file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layout {
    /// A header, then records; a quoted field may span lines.
    Csv {
        /// The byte between fields.
        delimiter: u8,
    },
    /// One object per line. Blank lines are skipped.
    JsonLines,
}

/// The line, counted from 1, on which row `row` (counted from 1) of `path` begins; `None` when there
/// is no such row.
pub(super) fn line_of_row(path: &Path, layout: Layout, row: u64) -> io::Result<Option<u64>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut quotes = Quotes::Start;
    let mut begun = 0;
    let mut text = Vec::new();
    // The header of a CSV file is one more record.
    let wanted = row + u64::from(matches!(layout, Layout::Csv { .. }));
    for line in 1.. {
        text.clear();
        if reader.read_until(b'\n', &mut text)? == 0 {
            break;
        }
        let blank = match layout {
            Layout::Csv { .. } => text.iter().all(|b| matches!(b, b'\r' | b'\n')),
            Layout::JsonLines => text.trim_ascii().is_empty(),
        };
        if quotes != Quotes::Inside && !blank {
            begun += 1;
            if begun == wanted {
                return Ok(Some(line));
            }
        }
        if let Layout::Csv { delimiter } = layout {
            quotes = text
                .iter()
                .fold(quotes, |quotes, byte| quotes.next(*byte, delimiter));
        }
    }
    Ok(None)
}

/// Where in a CSV record a byte stands. A quote opens a field only as its first byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Start,
    Plain,
    Inside,
    /// Behind a quote inside of a quoted field: it was the end, or the first of a pair.
    Behind,
}

impl Quotes {
    fn next(self, byte: u8, delimiter: u8) -> Self {
        match (self, byte) {
            (Self::Inside, b'"') => Self::Behind,
            (Self::Inside, _) => Self::Inside,
            (Self::Start | Self::Behind, b'"') => Self::Inside,
            (_, b'\n') => Self::Start,
            (_, byte) if byte == delimiter => Self::Start,
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(text: &str, layout: Layout, row: u64) -> Option<u64> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        line_of_row(file.path(), layout, row).unwrap()
    }

    #[test]
    fn a_csv_row_is_found_behind_quoted_line_breaks_and_blank_lines() {
        let csv = Layout::Csv { delimiter: b',' };
        let text = "a,b\n1,\"x\ny \"\" \n\"\n\n2,5\" pipe\n3,\"\"\r\n4,z";
        assert_eq!(line(text, csv, 1), Some(2));
        assert_eq!(line(text, csv, 2), Some(6));
        assert_eq!(line(text, csv, 3), Some(7));
        assert_eq!(line(text, csv, 4), Some(8));
        assert_eq!(line(text, csv, 5), None);
    }

    #[test]
    fn a_json_row_is_found_behind_blank_lines() {
        assert_eq!(line("\n{}\n  \n{}", Layout::JsonLines, 2), Some(4));
    }
}
