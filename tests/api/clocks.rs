//! Services whose machines' clocks are wrong, each in its own way: nothing that the book says depends on them.

use std::path::Path;
use std::process::Command;

use goldbook::embedded_postgres::{OWNER_ROLE, SERVICE_ROLE};
use goldbook::proto;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use crate::audit::assert_clean;
use crate::binary::Serving;
use crate::harness::{Database, SHOP, Service, grant_reward, instant};
use crate::wait::until;

/// Stands before the C library's clock in a process that loads it: what it tells of the time of day is so many seconds
/// off as the named file says at that moment. Everything else, such as how long something takes, stays as it is.
const WRONG_CLOCK: &str = r#"
use std::ffi::{c_int, c_long};
#[repr(C)]
pub struct Timespec { seconds: c_long, nanoseconds: c_long }
unsafe extern "C" { fn syscall(number: c_long, ...) -> c_long; }
const CLOCK_GETTIME: c_long = if cfg!(target_arch = "x86_64") { 228 } else { 113 };
const REALTIME: c_int = 0;
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, told: *mut Timespec) -> c_int {
    let outcome = unsafe { syscall(CLOCK_GETTIME, c_long::from(clock), told) } as c_int;
    if outcome == 0 && clock == REALTIME {
        let text = std::env::var("WRONG_CLOCK").ok().and_then(|file| std::fs::read_to_string(file).ok());
        let seconds: Option<c_long> = text.and_then(|text| text.trim().parse().ok());
        unsafe { (*told).seconds += seconds.unwrap_or(0) };
    }
    outcome
}
"#;

/// A clock that can be wrong, for processes that are started with it.
struct WrongClock {
    directory: TempDir,
}

impl WrongClock {
    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("wrong_clock.rs");
        std::fs::write(&source, WRONG_CLOCK).unwrap();
        let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let compile = Command::new(compiler)
            .args(["--edition", "2024", "--crate-type", "cdylib", "-o"])
            .arg(directory.path().join("wrong_clock.so"))
            .arg(&source)
            .output()
            .unwrap();
        assert!(compile.status.success(), "{}", String::from_utf8_lossy(&compile.stderr));
        Self { directory }
    }

    /// How many seconds the clock of a process is off from now on.
    fn set(&self, process: &str, seconds: i64) {
        let file = self.file(process);
        let new = file.with_extension("new");
        std::fs::write(&new, seconds.to_string()).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    fn file(&self, process: &str) -> std::path::PathBuf {
        self.directory.path().join(process)
    }

    /// A service with this clock.
    async fn serve(&self, database: &Database, process: &str) -> Serving {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (library, file) = (text(&self.directory.path().join("wrong_clock.so")), text(&self.file(process)));
        let environment =
            [("LD_PRELOAD", library.as_str()), ("WRONG_CLOCK", file.as_str()), ("GOLDBOOK_LIABILITY_SECONDS", "1")];
        Serving::start(&database.options(SERVICE_ROLE), &environment).await
    }

    /// What `date` shows with this clock.
    fn shown(&self, process: &str) -> i64 {
        let date = Command::new("date")
            .arg("+%s")
            .env("LD_PRELOAD", self.directory.path().join("wrong_clock.so"))
            .env("WRONG_CLOCK", self.file(process))
            .output()
            .unwrap();
        String::from_utf8(date.stdout).unwrap().trim().parse().unwrap()
    }
}

fn of_wire(instant: prost_types::Timestamp) -> Timestamp {
    Timestamp::new(instant.seconds, instant.nanos).unwrap()
}

const DAY: i64 = 24 * 60 * 60;

#[tokio::test]
async fn replicas_whose_clocks_run_ahead_jump_and_go_back_write_and_answer_as_one() {
    let (clock, database) = (WrongClock::make(), Database::create().await);
    clock.set("right", 0);
    clock.set("wrong", 10 * DAY);
    assert!(clock.shown("wrong") - clock.shown("right") > 9 * DAY, "the clock cannot be set");
    let (right, wrong) = (clock.serve(&database, "right").await, clock.serve(&database, "wrong").await);
    let right = (Service::at(right.address, database.clone()).await, right);
    let wrong = (Service::at(wrong.address, database.clone()).await, wrong);
    let (right, wrong) = (&right.0, &wrong.0);
    let mut owner = database.connect(OWNER_ROLE).await;
    let mut now = async || -> Timestamp {
        let told: jiff_sqlx::Timestamp =
            sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut owner).await.unwrap();
        told.to_jiff()
    };
    let begun = now().await;
    right.apply_shop().await;
    right.enrol("anna").await;
    let mut held = Vec::new();
    // Ahead, further ahead, far back, and right again.
    for (step, seconds) in [10 * DAY, 40 * DAY, -40 * DAY, 0].into_iter().enumerate() {
        clock.set("wrong", seconds);
        for (service, name) in [(wrong, "wrong"), (right, "right")] {
            let mut grant = grant_reward("anna", 10, &format!("{name}-{step}"));
            let after = proto::expiry_rule::After { period: "P5D".to_owned(), ..Default::default() };
            grant.expiry = Some(proto::ExpiryRule { rule: Some(proto::expiry_rule::Rule::After(after)) });
            let (earliest, mut rewards) = (now().await, service.rewards());
            let granted = rewards.grant_reward(grant).await.unwrap().into_inner().reward.unwrap();
            let latest = now().await;
            let granted_at = granted.granted_at.unwrap();
            assert!((earliest..=latest).contains(&of_wire(granted_at)), "{name} {seconds}: {granted_at:?}");
            held.push(granted_at);
            // Nobody lets points expire early, and both know the same.
            for asked in [right, wrong] {
                let balance = asked.balance("anna").await;
                assert_eq!((balance.available, balance.expired), (10 * i64::try_from(held.len()).unwrap(), 0));
                let as_of = balance.as_of.unwrap();
                assert!((latest..=now().await).contains(&of_wire(as_of)), "{name} {seconds}: {as_of:?}");
                for (place, granted_at) in held.iter().enumerate() {
                    let request = proto::GetBalanceRequest {
                        program_id: SHOP.to_owned(),
                        customer_id: "anna".to_owned(),
                        as_of: Some(*granted_at),
                    };
                    let then = asked.rewards().get_balance(request).await.unwrap().into_inner().balance.unwrap();
                    assert_eq!(then.available, 10 * (i64::try_from(place).unwrap() + 1));
                }
            }
        }
        // What is ahead for the database is ahead for everyone.
        let ahead = now().await + SignedDuration::from_hours(1);
        for asked in [right, wrong] {
            let request = proto::GetBalanceRequest {
                program_id: SHOP.to_owned(),
                customer_id: "anna".to_owned(),
                as_of: Some(instant(ahead)),
            };
            assert_eq!(asked.rewards().get_balance(request).await.unwrap_err().code(), tonic::Code::OutOfRange);
        }
    }
    let summed = until("a summary of all", async || {
        let client = proto::liability_service_client::LiabilityServiceClient::new(wrong.channel.clone());
        let request = proto::GetLiabilityRequest { program_id: SHOP.to_owned(), as_of: None, revenue: None };
        let found = { client }.get_liability(request).await.ok()?.into_inner().liability?;
        (found.available == 80).then_some(found.as_of.unwrap())
    })
    .await;
    assert!((begun..=now().await).contains(&of_wire(summed)), "{summed:?}");
    assert_clean(&database).await;
}
