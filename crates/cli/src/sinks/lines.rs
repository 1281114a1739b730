//! Sinks that take lines: whatever waits is written, and made durable, together.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use tokio::sync::{mpsc, oneshot};

use super::{Undelivered, private, said};

/// Lines written together.
const BATCH: usize = 1_000;

/// Something that takes whole lines.
pub(super) trait Out: Send + 'static {
    /// Writes lines, and returns once they are where they shall be.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;
}

/// Standard output.
pub(super) struct StandardOutput;

impl Out for StandardOutput {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(lines)?;
        out.flush()
    }
}

/// A file that others may append to as well.
pub(super) struct AppendFile {
    file: File,
    /// The file ends in part of a line.
    is_torn: bool,
}

impl AppendFile {
    /// Makes the file where there is none, for its owner only.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = private().append(true).read(true).open(path)?;
        // That the file is there shall be on disk, too.
        #[cfg(unix)]
        if let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            File::open(folder)?.sync_all()?;
        }
        let is_torn = ends_in_part_of_a_line(&mut file)?;
        Ok(Self { file, is_torn })
    }
}

/// Whether whoever wrote last was killed meanwhile.
fn ends_in_part_of_a_line(file: &mut File) -> io::Result<bool> {
    if !file.metadata()?.is_file() || file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

impl Out for AppendFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let torn = std::mem::replace(&mut self.is_torn, true);
        if torn {
            self.file.write_all(b"\n")?;
        }
        self.file.write_all(lines)?;
        self.is_torn = false;
        self.file.sync_data()
    }
}

/// A line, and who waits for it.
struct Waiting {
    line: String,
    done: oneshot::Sender<Result<(), String>>,
}

/// The way to a thread that writes.
pub(super) struct Lines {
    queue: mpsc::Sender<Waiting>,
}

impl Lines {
    /// Needs a tokio runtime.
    pub(super) fn over(mut out: impl Out) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Waiting>(BATCH);
        tokio::task::spawn_blocking(move || {
            let mut batch = Vec::with_capacity(BATCH);
            while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
                let lines: String = batch.iter().map(|one| one.line.as_str()).collect();
                let written = out.write(lines.as_bytes()).map_err(|error| said(&error));
                for one in batch.drain(..) {
                    // Whoever gave up waiting does not mind.
                    let _ = one.done.send(written.clone());
                }
            }
        });
        Self { queue }
    }

    pub(super) async fn deliver(&self, line: String) -> Result<(), Undelivered> {
        let (done, written) = oneshot::channel();
        let gone = || Undelivered::Failed("the sink is closed".to_owned());
        let waiting = Waiting { line, done };
        self.queue.send(waiting).await.map_err(|_| gone())?;
        let written = written.await.map_err(|_| gone())?;
        written.map_err(|why| Undelivered::Failed(format!("the sink could not be written: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::future::join_all;

    use super::*;

    fn line(n: usize) -> String {
        format!("{{\"n\":{n}}}\n")
    }

    #[tokio::test]
    async fn a_file_gets_every_line_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.ndjson");
        let lines = Lines::over(AppendFile::open(&path).unwrap());
        let delivered = join_all((0..50).map(|n| lines.deliver(line(n)))).await;
        assert!(delivered.iter().all(Result::is_ok));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 50);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn half_a_line_of_somebody_who_was_killed_stays_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.ndjson");
        std::fs::write(&path, "{\"n\":0}\n{\"n\":").unwrap();
        let lines = Lines::over(AppendFile::open(&path).unwrap());
        lines.deliver(line(1)).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"n\":0}\n{\"n\":\n{\"n\":1}\n");
    }

    struct Full;

    impl Out for Full {
        fn write(&mut self, _lines: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_not_delivered() {
        let undelivered = Lines::over(Full).deliver(line(1)).await;
        let Err(Undelivered::Failed(why)) = undelivered else {
            panic!("{undelivered:?}");
        };
        assert!(why.contains("no storage space"), "{why}");
    }

    /// Counts how often it writes; the first time only after everything else waits.
    struct Counting {
        writes: Arc<Mutex<usize>>,
        begin: std::sync::mpsc::Receiver<()>,
    }

    impl Out for Counting {
        fn write(&mut self, _lines: &[u8]) -> io::Result<()> {
            self.begin.recv().unwrap();
            *self.writes.lock().unwrap() += 1;
            Ok(())
        }
    }

    #[tokio::test]
    async fn lines_that_wait_share_a_write() {
        let writes = Arc::new(Mutex::new(0));
        let (go, begin) = std::sync::mpsc::channel();
        let lines = Lines::over(Counting {
            writes: Arc::clone(&writes),
            begin,
        });
        let mut all = Box::pin(join_all((0..100).map(|n| lines.deliver(line(n)))));
        // Queues all of them; none is written yet.
        assert!(futures::poll!(&mut all).is_pending());
        for _ in 0..2 {
            go.send(()).unwrap();
        }
        assert!(all.await.iter().all(Result::is_ok));
        assert!(*writes.lock().unwrap() <= 2);
    }
}
