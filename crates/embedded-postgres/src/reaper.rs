//! Stops and removes a throw-away cluster when the process that started it ends without doing so.
//!
//! A test that is killed, or that keeps its Postgres in a `static`, never stops it. A small shell waits for this process
//! to end: then its input ends. It stops that Postgres and removes its files.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::error::StartError;
use super::place::Place;

/// Arguments: the postmaster's id, the data directory, the socket's directory. Removes by name what this crate makes,
/// and nothing else. The postmaster's id is taken from `postmaster.pid` again, since the number may belong to another
/// process by now.
const SCRIPT: &str = r#"
read -r _
if [ "$(head -n 1 "$2/postgres/postmaster.pid" 2>/dev/null)" = "$1" ]; then
    kill -QUIT "$1"
    tries=0
    while kill -0 "$1" && [ "$tries" -lt 100 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
fi
rm -rf "$2"/postgres "$2"/postgres.initdb-*
rm -f "$3"/.s.PGSQL.*
rmdir "$3"
[ -h "$2/socket" ] && rm -f "$2/socket"
rm -f "$2"/postgres.log "$2"/postgres.log.1 "$2"/lock
rmdir "$2"
"#;

/// The shell that waits.
#[derive(Debug)]
pub(super) struct Reaper(Child);

impl Reaper {
    pub(super) fn spawn(postmaster: u32, place: &Place) -> Result<Self, StartError> {
        let program = Path::new("/bin/sh");
        let mut shell = Command::new(program);
        shell.args(["-c", SCRIPT, "sh", &postmaster.to_string()]).arg(&place.data_dir).arg(&place.socket_dir);
        // It has its own process group, so that Ctrl-C does not end it before it has cleaned up.
        shell.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        shell.spawn().map(Self).map_err(|source| StartError::Run { program: program.to_path_buf(), source })
    }

    /// Ends it before it does anything.
    pub(super) fn dismiss(mut self) {
        // Its own child, not collected yet: neither can fail in a way that matters.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
