//! The store: objects are files below a target's folder. Paths are from the root of the file system, as Lance gives
//! them; which of them there is, [`Boundary`] decides.

use std::{
    fmt,
    fs::File,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path as FsPath,
};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    Attributes, CopyMode, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, RenameTargetMode, Result, path::Path,
};
use rustix::{
    fs::{AtFlags, FileType, Stat, fstat, fsync, linkat, renameat, statat, unlinkat},
    io::Errno,
};

use super::{
    access_denied::{AccessDenied, Fault, generic},
    beneath::{Boundary, FILE, For, split},
    disk::{blocking, meta, on_disk},
    list, removal,
    upload::{self, Staged, Upload, folder_made},
};

/// Maximum number of files that are removed at once.
const DELETIONS: usize = 10;

/// A local disk within a boundary.
#[derive(Clone, Debug)]
pub(super) struct LocalStore {
    pub(super) boundary: Boundary,
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.boundary.root.display())
    }
}

impl LocalStore {
    /// Does something with a path, away from the threads that must not wait.
    async fn at<T: Send + 'static>(
        &self,
        location: &Path,
        work: impl FnOnce(&Boundary, &FsPath) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T> {
        let (boundary, path) = (self.boundary.clone(), file_at(location)?);
        blocking(move || work(&boundary, &path).map_err(|fault| fault.about(&path))).await
    }

    fn unsupported(&self, operation: &str) -> object_store::Error {
        object_store::Error::NotImplemented {
            operation: operation.to_owned(),
            implementer: self.to_string(),
        }
    }
}

/// The path of a file. Names that files have while they are written name none.
fn file_at(location: &Path) -> Result<std::path::PathBuf> {
    let path = on_disk(location);
    match path.file_name() {
        Some(name) if !list::is_staged(name) => Ok(path),
        _ => Err(generic(format!("{location:?} is no name of a file"))),
    }
}

/// Opens a file, and nothing else.
fn open(boundary: &Boundary, path: &FsPath) -> Result<(File, Stat), Fault> {
    let opened = match boundary.open(path, FILE, For::Reading) {
        // So a socket, or a device that is not there, is reported.
        Err(Fault::Io(e)) if e.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            return Err(no_file(path, "a socket or a device"));
        }
        opened => opened?,
    };
    let stat = fstat(&opened)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((opened.into(), stat)),
        // Stores have no folders.
        FileType::Directory => Err(Errno::NOENT.into()),
        FileType::Fifo => Err(no_file(path, "a FIFO")),
        FileType::Socket => Err(no_file(path, "a socket")),
        _ => Err(no_file(path, "a device")),
    }
}

fn no_file(path: &FsPath, what: &'static str) -> Fault {
    AccessDenied::NoFile {
        path: path.to_owned(),
        what,
    }
    .into()
}

/// Reads a part of a file of `size` bytes.
fn read(file: &File, range: &std::ops::Range<u64>, size: u64) -> Result<Bytes, Fault> {
    let beyond = || {
        let message = format!("bytes {range:?} are asked for of {size}");
        std::io::Error::new(std::io::ErrorKind::UnexpectedEof, message)
    };
    let length = range.end.checked_sub(range.start);
    let length = length.filter(|_| range.end <= size).ok_or_else(beyond)?;
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| beyond())?];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}

/// Where a file is moved from or to.
fn ends(boundary: &Boundary, from: &FsPath, to: &FsPath) -> Result<(OwnedFd, OwnedFd), Fault> {
    let (source, _) = boundary.parent(from, For::Changing)?;
    let (above, _) = split(to)?;
    Ok((source, folder_made(boundary, above)?))
}

/// Gives a file a second name, which must be new.
fn link(boundary: &Boundary, from: &FsPath, to: &FsPath) -> Result<(), Fault> {
    let (source, target) = ends(boundary, from, to)?;
    let ((_, name), (_, new)) = (split(from)?, split(to)?);
    linkat(source, name, &target, new, AtFlags::empty())?;
    Ok(fsync(target)?)
}

#[async_trait::async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) || !options.attributes.is_empty() {
            return Err(self.unsupported("a put that updates, or has attributes"));
        }
        let put = self.at(location, move |boundary, path| {
            upload::put(boundary, path, &payload, &options.mode)
        });
        Ok(PutResult {
            e_tag: Some(put.await?),
            version: None,
            extensions: Default::default(),
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if !options.attributes.is_empty() {
            return Err(self.unsupported("an upload with attributes"));
        }
        let staged = self.at(location, Staged::new).await?;
        Ok(Box::new(Upload::new(on_disk(location), staged)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (boundary, path) = (self.boundary.clone(), file_at(location)?);
        let location = location.clone();
        blocking(move || {
            let (file, stat) = open(&boundary, &path).map_err(|fault| fault.about(&path))?;
            let meta = meta(&boundary, &stat, location);
            options.check_preconditions(&meta)?;
            let range = match options.range {
                Some(range) => range.as_range(meta.size).map_err(generic)?,
                None => 0..meta.size,
            };
            Ok(GetResult {
                payload: GetResultPayload::File(file, path),
                attributes: Attributes::default(),
                range,
                meta,
                extensions: Default::default(),
            })
        })
        .await
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<Bytes>> {
        let ranges = ranges.to_vec();
        self.at(location, move |boundary, path| {
            let (file, stat) = open(boundary, path)?;
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            let read = ranges.iter().map(|range| read(&file, range, size));
            read.collect()
        })
        .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deleted = locations.map(move |location| {
            let store = store.clone();
            async move {
                let location = location?;
                store.at(&location, removal::file).await?;
                Ok(location)
            }
        });
        deleted.buffered(DELETIONS).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        list::list(&self.boundary, prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        list::list(&self.boundary, prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let boundary = self.boundary.clone();
        let path = prefix.cloned().unwrap_or_default();
        blocking(move || {
            list::list_folder(&boundary, &path).map_err(|fault| fault.about(&on_disk(&path)))
        })
        .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let target = file_at(to)?;
        self.at(from, move |boundary, path| {
            if matches!(options.mode, CopyMode::Create) {
                return link(boundary, path, &target);
            }
            // A link must be new: so it is made beside, and moved.
            let mut staged = target.clone().into_os_string();
            staged.push(format!("#{}", uuid::Uuid::new_v4().as_u128()));
            let staged = std::path::PathBuf::from(staged);
            link(boundary, path, &staged)?;
            let (folder, name) = boundary.parent(&staged, For::Changing)?;
            let (_, new) = split(&target)?;
            let moved = renameat(&folder, name, &folder, new);
            // Both are the same file already, or it failed.
            let _ = unlinkat(&folder, name, AtFlags::empty());
            moved?;
            Ok(fsync(folder)?)
        })
        .await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let target = file_at(to)?;
        self.at(from, move |boundary, path| {
            if matches!(options.target_mode, RenameTargetMode::Create) {
                link(boundary, path, &target)?;
                let (folder, name) = boundary.parent(path, For::Changing)?;
                unlinkat(&folder, name, AtFlags::empty())?;
                return Ok(fsync(folder)?);
            }
            let (source, folder) = ends(boundary, path, &target)?;
            let ((_, name), (_, new)) = (split(path)?, split(&target)?);
            renameat(&source, name, &folder, new)?;
            // Two names of one file are left as they are.
            let still = statat(&source, name, AtFlags::SYMLINK_NOFOLLOW);
            let moved = statat(&folder, new, AtFlags::SYMLINK_NOFOLLOW)?;
            let id = |stat: &Stat| (stat.st_dev, stat.st_ino);
            if path != target && still.is_ok_and(|still| id(&still) == id(&moved)) {
                unlinkat(&source, name, AtFlags::empty())?;
            }
            fsync(folder)?;
            Ok(fsync(source)?)
        })
        .await
    }
}
