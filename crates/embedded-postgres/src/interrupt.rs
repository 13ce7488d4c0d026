//! Being told to stop while the cluster is made.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Ends what is being prepared from another thread. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_told: bool,
    /// The program that runs and was not collected yet, so that its number cannot have been given to another process. It
    /// leads a process group, in which what it starts is, too.
    program: Option<Pid>,
}

impl State {
    fn kill(&self) {
        if let Some(program) = self.program.filter(|_| self.is_told) {
            // It can only fail because the program ended in this moment, which is what is asked for.
            let _ = killpg(program, Signal::SIGKILL);
        }
    }
}

impl Interrupt {
    /// Ends the program that runs, and those that would run after it.
    pub(super) fn tell(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_told = true;
        state.kill();
    }

    pub(super) fn is_told(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_told
    }

    /// Runs a program to its end; how it ended, and what it wrote to standard error.
    pub(super) fn run(&self, command: &mut Command) -> io::Result<(ExitStatus, Vec<u8>)> {
        // A Ctrl-C in the terminal reaches the whole foreground group. This process alone takes it.
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn()?;
        {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.program = i32::try_from(child.id()).ok().map(Pid::from_raw);
            // Where that was said before there was anything to end.
            state.kill();
        }
        let mut told = Vec::new();
        // It ends when all of them have ended, so that the wait is short in which nobody can end the program.
        let read = child.stderr.take().map_or(Ok(0), |mut stderr| stderr.read_to_end(&mut told));
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.program = None;
        let status = child.wait()?;
        read.map(|_| (status, told))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn sleep_long() -> Command {
        let mut command = Command::new("/bin/sh");
        // What it starts holds its standard error, too.
        command.args(["-c", "echo begun >&2; sleep 600 & sleep 600; true"]).stdin(Stdio::null());
        command
    }

    #[test]
    fn a_program_is_ended_with_all_that_it_started_whenever_that_is_said() {
        let begun = Instant::now();
        let interrupt = Interrupt::default();
        let running = std::thread::spawn({
            let interrupt = interrupt.clone();
            move || interrupt.run(&mut sleep_long()).unwrap()
        });
        while interrupt.0.lock().unwrap().program.is_none() {
            std::thread::yield_now();
        }
        interrupt.tell();
        let (status, _) = running.join().unwrap();
        assert!(!status.success());
        // One that begins afterwards ends, too.
        assert!(!interrupt.run(&mut sleep_long()).unwrap().0.success());
        assert!(interrupt.is_told() && begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_program_that_nobody_ends_tells_what_it_has_to_tell() {
        let mut command = Command::new("/bin/sh");
        let (status, told) = Interrupt::default().run(command.args(["-c", "echo why >&2; exit 3"])).unwrap();
        assert_eq!((status.code(), told.as_slice()), (Some(3), &b"why\n"[..]));
    }
}
