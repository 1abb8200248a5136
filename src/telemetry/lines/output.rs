//! Where lines go: how much of them is taken at once, and what becomes of a line of which only a part was taken.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use memchr::memrchr;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::carrier::{Carrier, Taken};
use super::rotation::{Rotated, Rotation};
use crate::clock::Clock;

/// A destination of lines.
pub enum Output {
    /// A regular file, which takes everything at once unless its disk is full, and how it is replaced.
    File(File, Option<Box<Rotated>>),
    /// A pipe, a socket or a terminal, whose reader may stall. It is never written to before it has room.
    Pipe(File),
    /// Who answers; a call may take as long as that may.
    Answering(Box<dyn Carrier>),
    /// Anything else; a write may block.
    Other(Box<dyn Write + Send>),
}

impl From<Box<dyn Write + Send>> for Output {
    fn from(output: Box<dyn Write + Send>) -> Self {
        Self::Other(output)
    }
}

impl Output {
    /// Opens a file, to which lines are added. Never waits.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or is a named pipe that nobody reads.
    pub fn append_to(path: &Path) -> io::Result<Self> {
        append(path, None).map(Self::of)
    }

    /// The same file, which is replaced as the limits say.
    ///
    /// # Errors
    /// When it is not a regular file, or nothing can be found out about it.
    pub fn rotated(self, path: &Path, limits: Rotation, clock: Clock) -> io::Result<Self> {
        match self {
            Self::File(file, _) => {
                let rotated = Rotated::new(path, &file, limits, clock)?;
                Ok(Self::File(file, Some(Box::new(rotated))))
            }
            Self::Pipe(_) | Self::Answering(_) | Self::Other(_) => {
                Err(io::Error::new(ErrorKind::InvalidInput, "it is not a file that could be rotated"))
            }
        }
    }

    /// Replaces a file that has enough lines before so many more bytes are written.
    ///
    /// # Errors
    /// When it cannot be replaced. It can still be written to.
    pub(super) fn rotate(&mut self, more: usize) -> io::Result<()> {
        if let Self::File(file, Some(rotated)) = self
            && let Some(next) = rotated.next(file, more)?
        {
            *file = next;
        }
        Ok(())
    }

    /// Goes on in the file that is at its path by now, if it has been rotated since it was opened.
    ///
    /// # Errors
    /// When that cannot be opened.
    pub(super) fn catch_up(&mut self) -> io::Result<()> {
        if let Self::File(file, Some(rotated)) = self
            && let Some(next) = rotated.successor(file)?
        {
            *file = next;
        }
        Ok(())
    }

    /// Replaces the file as the other one, which is the same, would be.
    pub(super) fn rotate_like(&mut self, other: Self) {
        if let (Self::File(_, mine), Self::File(_, theirs)) = (self, other) {
            *mine = theirs;
        }
    }

    /// Duplicates a standard stream, without the buffer that its own writer has.
    ///
    /// # Errors
    /// When the stream is closed.
    pub fn duplicate(stream: impl AsFd) -> io::Result<Self> {
        Ok(Self::of(File::from(stream.as_fd().try_clone_to_owned()?)))
    }

    fn of(file: File) -> Self {
        let waits = file.metadata().is_ok_and(|file| {
            let kind = file.file_type();
            kind.is_fifo() || kind.is_socket() || kind.is_char_device()
        });
        if waits { Self::Pipe(file) } else { Self::File(file, None) }
    }

    /// Whether the last line in a file has no end: its writer was killed, or had no space for the rest.
    pub(super) fn ends_within_line(&self) -> bool {
        let Self::File(file, _) = self else { return false };
        let Some(last) = file.metadata().ok().and_then(|file| file.len().checked_sub(1)) else { return false };
        let mut byte = [b'\n'];
        file.read_at(&mut byte, last).is_ok() && byte != [b'\n']
    }

    /// The end of a file: its last whole line, without its end, and what comes after that. Both are empty for all else.
    ///
    /// # Errors
    /// When the file cannot be read, or its last lines have more than 1 MiB.
    pub fn last_line(&self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let Self::File(file, _) = self else { return Ok(Default::default()) };
        let length = file.metadata()?.len();
        let start = length.saturating_sub(LONGEST_END);
        let mut end = vec![0; usize::try_from(length.saturating_sub(start)).unwrap_or_default()];
        file.read_exact_at(&mut end, start)?;
        let Some(rest_at) = memrchr(b'\n', &end).map(|place| place.saturating_add(1)) else {
            return if start == 0 { Ok((Vec::new(), end)) } else { Err(ErrorKind::FileTooLarge.into()) };
        };
        let rest = end.split_off(rest_at);
        end.pop();
        match memrchr(b'\n', &end) {
            Some(place) => Ok((end.split_off(place.saturating_add(1)), rest)),
            None if start == 0 => Ok((end, rest)),
            None => Err(ErrorKind::FileTooLarge.into()),
        }
    }

    /// Whether this is the file or pipe that the other one is.
    pub(super) fn is(&self, other: &Self) -> bool {
        let identity = |output: &Self| match output {
            Self::File(file, _) | Self::Pipe(file) => file.metadata().ok().map(|file| (file.dev(), file.ino())),
            Self::Answering(_) | Self::Other(_) => None,
        };
        identity(self).is_some_and(|one| identity(other) == Some(one))
    }

    /// Removes the first part of a line from the end of a file; returns whether there is no such part any more. Nothing
    /// else can be shortened, nor can every file.
    pub(super) fn take_back(&self, part: u64) -> bool {
        let Self::File(file, _) = self else { return false };
        match file.metadata().map(|file| file.len().checked_sub(part)) {
            Ok(Some(length)) => file.set_len(length).is_ok(),
            // Someone else has shortened it.
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Writes some of these lines and returns how much was taken.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if the reader of a pipe has made no room for a moment; otherwise, what the operating
    /// system reports.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<Taken> {
        let bytes = match self {
            Self::File(file, _) => file.write(lines),
            Self::Answering(carrier) => return carrier.carry(lines),
            Self::Pipe(file) => {
                if !has_room(file.as_fd())? {
                    return Err(ErrorKind::WouldBlock.into());
                }
                file.write(portion(lines))
            }
            Self::Other(output) => output.write(lines),
        };
        Ok(Taken { bytes: bytes?, lost: 0 })
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(..) | Self::Pipe(_) | Self::Answering(_) => Ok(()),
            Self::Other(output) => output.flush(),
        }
    }
}

/// Opens a file, or a named pipe, for appending; one that is not there yet gets this mode. Never waits.
pub(super) fn append(path: &Path, mode: Option<u32>) -> io::Result<File> {
    // Opening a named pipe for reading, too, would hide that nobody else reads it.
    let regular = std::fs::metadata(path).is_ok_and(|file| file.is_file());
    let mut options = OpenOptions::new();
    if let Some(mode) = mode {
        options.mode(mode);
    }
    // Otherwise, opening a named pipe waits for its reader, which may never come.
    options.create(true).append(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let both = options.clone().read(regular).open(path);
    // A file that may only be written to is as good, but for its last byte.
    both.or_else(|_| options.open(path)).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NXIO) => io::Error::new(error.kind(), "it is a named pipe, and nobody reads it"),
        Some(_) | None => error,
    })
}

/// Waits a moment until a pipe has room for [`ATOMIC`] bytes, or has lost its reader, which the write then reports.
fn has_room(pipe: BorrowedFd<'_>) -> io::Result<bool> {
    let mut pipes = [PollFd::from_borrowed_fd(pipe, PollFlags::OUT)];
    match poll(&mut pipes, MOMENT_MS) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns as many whole lines as a pipe takes at once, or the first part of a longer one.
fn portion(lines: &[u8]) -> &[u8] {
    let Some(first) = lines.get(..ATOMIC) else { return lines };
    match first.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => first.get(..=end).unwrap_or(first),
        None => first,
    }
}

/// What a pipe that is ready takes without blocking, whole or not at all (`PIPE_BUF` of Linux, see pipe(7)).
const ATOMIC: usize = 4096;
/// How much of the end of a file is read for its last line; a line has some kilobytes.
const LONGEST_END: u64 = 1024 * 1024;
/// How long a pipe may make no room before the writer looks whether it has anything else to do.
const MOMENT_MS: i32 = 50;
