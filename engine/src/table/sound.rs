//! Numbers of a manifest that cannot be: a bit that rotted makes two rows of a fragment quintillions. Who adds such numbers
//! up plans with nonsense, so a version with one is refused as damaged where it is opened.

use lance::{Dataset, Error};
use lance_table::format::{DataFile, Fragment};

/// A row's place in a fragment has 32 bits, and so has the fragment's id.
const MOST: u64 = 1 << 32;
/// No store takes an object of a terabyte and more at once; so many bytes of every fragment can be added up.
const LARGEST_FILE: u64 = 1 << 43;

/// Passes on a version whose numbers can be.
///
/// # Errors
/// [`Error::CorruptFile`], with the manifest and what it says.
pub(super) fn sound(dataset: Dataset) -> lance::Result<Dataset> {
    let (named, says) = (
        dataset.manifest_location().version,
        dataset.manifest().version,
    );
    // Zeros are found by `handle::whole`, which says what they come from.
    let another = (says != named && says != 0)
        .then(|| format!("the manifest of version {named} says that it is version {says}"));
    let fault = another.or_else(|| dataset.manifest().fragments.iter().find_map(fault));
    match fault {
        None => Ok(dataset),
        Some(fault) => {
            let path = dataset.manifest_location().path.clone();
            Err(Error::corrupt_file(path, fault))
        }
    }
}

fn fault(fragment: &Fragment) -> Option<String> {
    let id = fragment.id;
    if id >= MOST {
        return Some(format!("the manifest has a fragment {id}, which cannot be"));
    }
    let rows = fragment.physical_rows.map_or(0, |rows| rows as u64);
    let deletions = fragment.deletion_file.as_ref();
    let deleted = deletions.and_then(|file| file.num_deleted_rows);
    let deleted = deleted.map_or(0, |rows| rows as u64);
    if rows > MOST || deleted > MOST {
        let rows = rows.max(deleted);
        return Some(format!(
            "its manifest says of fragment {id} that it has {rows} rows, which cannot be"
        ));
    }
    // Where the columns of a file are not said, Lance makes up as many rows of nulls as the manifest claims.
    let is_of_the_first_format =
        |f: &DataFile| f.file_major_version == 0 && f.file_minor_version < 3;
    let unplaced =
        |f: &&DataFile| !is_of_the_first_format(f) && f.column_indices.len() < f.fields.len();
    if let Some(file) = fragment.files.iter().find(unplaced) {
        let path = &file.path;
        return Some(format!(
            "its manifest does not say where the columns of {path} are, a file of fragment {id}"
        ));
    }
    let mut sizes = fragment
        .files
        .iter()
        .filter_map(|f| f.file_size_bytes.get());
    let size = sizes.find(|size| size.get() > LARGEST_FILE)?;
    Some(format!(
        "its manifest says of a file of fragment {id} that it has {size} bytes, which cannot be"
    ))
}

#[cfg(test)]
mod tests {
    use lance_io::utils::CachedFileSize;
    use lance_table::format::{DeletionFile, DeletionFileType};

    use super::*;

    fn deleted(rows: usize) -> DeletionFile {
        DeletionFile {
            read_version: 1,
            id: 1,
            file_type: DeletionFileType::Array,
            num_deleted_rows: Some(rows),
            base_id: None,
        }
    }

    #[test]
    fn numbers_that_fit_into_a_row_address_can_be_and_larger_ones_cannot() {
        let of = |id, rows| Fragment::new(id).with_physical_rows(rows);
        let most = usize::try_from(MOST).unwrap();
        assert_eq!(fault(&Fragment::new(0)), None);
        assert_eq!(fault(&of(7, 10)), None);
        assert_eq!(fault(&of(MOST - 1, most)), None);
        assert!(fault(&of(MOST, 1)).is_some());
        let message = fault(&of(7, usize::MAX)).unwrap();
        assert!(message.contains("fragment 7") && message.contains("18446744073709551615 rows"));
        let mut fragment = of(7, 10);
        fragment.deletion_file = Some(deleted(3));
        assert_eq!(fault(&fragment), None);
        fragment.deletion_file = Some(deleted(usize::MAX));
        assert!(fault(&fragment).is_some());
    }

    #[test]
    fn a_file_whose_columns_are_nowhere_cannot_be_and_one_of_the_first_format_can() {
        let of = |version: (u32, u32), columns: Vec<i32>| {
            let mut fragment = Fragment::new(7);
            fragment.files.push(DataFile {
                path: "a.lance".to_owned(),
                fields: vec![0, 1].into(),
                column_indices: columns.into(),
                file_major_version: version.0,
                file_minor_version: version.1,
                file_size_bytes: CachedFileSize::unknown(),
                base_id: None,
            });
            fault(&fragment)
        };
        assert_eq!(of((2, 1), vec![0, 1]), None);
        assert_eq!(of((0, 3), vec![0, 1]), None);
        assert_eq!(of((0, 2), Vec::new()), None);
        for version in [(0, 3), (2, 1)] {
            assert!(of(version, vec![0]).is_some_and(|why| why.contains("a.lance")));
        }
    }
}
