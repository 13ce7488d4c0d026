//! Clusters of one major version, and programs of another.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use embedded_postgres::{EmbeddedPostgres, Options, StartError, find_bin_dir, throwaway_dir};

use crate::{asked_for, assert_row_is_kept, throwaway, write_row};

#[tokio::test]
async fn cluster_of_a_version_that_is_not_installed_is_refused_by_its_number() {
    let directory = throwaway_dir().unwrap();
    EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap().stop().await.unwrap();
    fs::write(directory.path().join("postgres/PG_VERSION"), "99\n").unwrap();
    let refusal = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap_err();
    assert!(matches!(refusal, StartError::OtherVersion { major: 99, .. }), "{refusal}");
    let found = find_bin_dir(asked_for().as_deref()).unwrap();
    assert!(refusal.to_string().contains(&format!("{} cannot open it", found.display())), "{refusal}");
}

/// Programs of another major version than those that the other tests run: `make test-18` names them.
fn other_version() -> Option<PathBuf> {
    env::var_os("GOLDBOOK_OTHER_POSTGRES_BIN").map(PathBuf::from)
}

/// What a cluster holds, by its files.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// What programs say of their major version, such as `postgres (PostgreSQL) 18`.
fn major(bin_dir: &Path) -> String {
    let output = Command::new(bin_dir.join("postgres")).arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap().split('.').next().unwrap().to_owned()
}

/// Where only one major version is installed there is nothing to try.
#[tokio::test]
async fn programs_of_another_version_are_refused_before_anything_is_touched() {
    let Some(other) = other_version() else { return };
    let other = find_bin_dir(Some(&other)).unwrap();
    let own = find_bin_dir(asked_for().as_deref()).unwrap();
    if major(&own) == major(&other) {
        return;
    }
    let directory = throwaway_dir().unwrap();
    let options = |bin_dir: &Path| Options { bin_dir: Some(bin_dir.to_path_buf()), ..throwaway(directory.path()) };
    for (made_by, opened_by) in [(&own, &other), (&other, &own)] {
        let postgres = EmbeddedPostgres::start(options(made_by)).await.unwrap();
        write_row(&postgres).await;
        postgres.stop().await.unwrap();
        let cluster = directory.path().join("postgres");
        let made = fs::read_to_string(cluster.join("PG_VERSION")).unwrap();
        let before = contents(&cluster);

        let refusal = EmbeddedPostgres::start(options(opened_by)).await.unwrap_err();
        assert!(matches!(refusal, StartError::OtherVersion { .. }), "{refusal}");
        let told = refusal.to_string();
        let by = format!("was made by PostgreSQL {}, which was not found", made.trim());
        assert!(told.contains(&by) && told.contains(opened_by.to_str().unwrap()), "{told}");
        assert!(contents(&cluster) == before, "the cluster was touched");

        let postgres = EmbeddedPostgres::start(options(made_by)).await.unwrap();
        assert_row_is_kept(&postgres).await;
        postgres.stop().await.unwrap();
        fs::remove_dir_all(&cluster).unwrap();
    }
}
