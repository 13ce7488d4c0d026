//! The user who runs Postgres, which refuses to run as root.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, io};

use nix::unistd::{Uid, User, chown};

use super::error::StartError;

/// Whom root runs Postgres as. There is no account (`None`) when this process does not run as root: then it is the user
/// who runs this process.
#[derive(Clone, Debug)]
pub(super) struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// For a new cluster: `postgres`, whom the distribution's package creates, else `nobody`.
    pub(super) fn of_server() -> Result<Option<Self>, StartError> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.filter(|user| !user.uid.is_root()).ok_or(StartError::NoAccount)?;
        Ok(Some(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
    }

    /// For an existing cluster: its owner, whom alone Postgres serves. So root can start what an ordinary user made.
    pub(super) fn of_owner(cluster: &Path) -> Result<Option<Self>, StartError> {
        let metadata = fs::metadata(cluster).map_err(StartError::file("look at", cluster))?;
        let (uid, gid) = (metadata.uid(), metadata.gid());
        let name = user_name(uid);
        let me = Uid::effective();
        if me.is_root() && uid != 0 {
            Ok(Some(Self { name, uid, gid }))
        } else if me.as_raw() == uid && !me.is_root() {
            Ok(None)
        } else {
            Err(StartError::OtherOwner { cluster: cluster.to_path_buf(), owner: name })
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the account can enter the directory. Asked by trying, since groups and access lists count too.
    pub(super) fn can_enter(&self, directory: &Path) -> bool {
        let mut shell = command(Path::new("/bin/sh"), Some(self));
        shell.args(["-c", "cd -- \"$1\"", "sh"]).arg(directory).stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().is_ok_and(|status| status.success())
    }
}

fn user_name(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// A command that runs as the account and sees no `PG…` variable, since those would redirect the server's programs.
pub(super) fn command(program: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    // The account may not be able to enter the directory that this process was started in.
    command.current_dir("/").stdin(Stdio::null());
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    // On macOS a postmaster without a valid locale becomes multi-threaded and refuses to start.
    command.env("LC_ALL", "C");
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// Gives a file or directory to the account.
pub(super) fn give(path: &Path, account: Option<&Account>) -> Result<(), StartError> {
    let Some(account) = account else { return Ok(()) };
    chown(path, Some(account.uid.into()), Some(account.gid.into()))
        .map_err(io::Error::from)
        .map_err(StartError::file("change the owner of", path))
}
