//! `goldbook bench` and `goldbook bench-check`, in a run that is too short to say anything: everything is measured, and
//! the record can be compared. What is measured is not judged here.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::binary::{goldbook, run};

/// Far more than it takes, since it starts seven services.
const BOUND: Duration = Duration::from_secs(300);

const WORKLOADS: [&str; 26] = [
    "beside-calls",
    "beside-streams",
    "conversion",
    "count-tiers",
    "echo",
    "grant",
    "grant-empty",
    "grant-keyed",
    "grant-large",
    "grant-one",
    "grant-unmeasured",
    "pgbench",
    "purchase",
    "quiet",
    "raw-200",
    "redeem",
    "redeem-400",
    "redeem-5",
    "simulate",
    "stream",
    "stream-empty",
    "stream-large",
    "tier",
    "tier-keyed",
    "tier-many",
    "use-benefit",
];

/// Those that go through all customers once.
const WALKS: [&str; 2] = ["simulate", "count-tiers"];

/// Those of one caller while another one calls, too: nobody can tell whom the processors worked for.
const FLOODED: [&str; 2] = ["beside-calls", "beside-streams"];

/// The figures of each workload at each number of clients.
fn medians(record: &Value) -> &[Value] {
    record["medians"].as_array().unwrap()
}

fn is_any(median: &Value, names: &[&str]) -> bool {
    names.contains(&median["workload"].as_str().unwrap())
}

/// Whether round trips are counted of it.
fn is_counted(median: &Value) -> bool {
    let main = [
        "grant",
        "grant-one",
        "redeem",
        "redeem-5",
        "redeem-400",
        "tier",
        "purchase",
        "conversion",
        "use-benefit",
        "stream",
    ];
    is_any(median, &main)
}

async fn measure_for(seconds: &str, path: &Path) -> Value {
    let mut command = goldbook();
    command.args(["bench", "--warmup=0", "--rounds=1", "--customers=2", "--clients=4", "--streams=1", "--large=4"]);
    command.arg("--many-customers=6");
    command.args(["--only", "grant,tier,redeem,purchase,conversion,use-benefit,stream,fairness"]);
    command.args(["--seconds", seconds, "--json"]).arg(path);
    let output = timeout(BOUND, command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Measures for a moment, or for longer if the machine is so busy that a moment is too short for some call.
async fn measure(path: &Path) -> Value {
    for seconds in ["0.2", "2"] {
        let record = measure_for(seconds, path).await;
        let is_whole =
            |median: &Value| median["completed"] != 0 && (median["trips"].is_object() || !is_counted(median));
        if medians(&record).iter().all(is_whole) {
            return record;
        }
    }
    measure_for("20", path).await
}

/// The record of a run whose ratios are all this.
fn with_ratios(record: &Value, path: &Path, change: impl Fn(&str) -> f64) {
    let mut record = record.clone();
    for ratio in record["ratios"].as_array_mut().unwrap() {
        ratio["ratio"] = change(ratio["name"].as_str().unwrap()).into();
    }
    std::fs::write(path, record.to_string()).unwrap();
}

async fn compare(old: &Path, new: &Path) -> (Option<i32>, String) {
    let ended = run(&["bench-check", old.to_str().unwrap(), new.to_str().unwrap()]).await;
    (ended.status.code(), ended.stdout)
}

#[tokio::test]
async fn bench_measures_everything_and_bench_check_compares_what_it_kept() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new, none] = ["old.json", "new.json", "none.json"].map(|name| folder.path().join(name));
    let record = measure(&old).await;
    let medians = medians(&record);
    let mut workloads: Vec<&str> = medians.iter().map(|median| median["workload"].as_str().unwrap()).collect();
    workloads.sort_unstable();
    workloads.dedup();
    assert_eq!(workloads, WORKLOADS);
    for median in medians {
        assert!(median["completed"] != 0 && median["errors"] == 0, "{median}");
        assert_eq!(median["trips"].is_object(), is_counted(median), "{median}");
        if cfg!(target_os = "linux") {
            let cpu = &median["cpu"];
            let is_told = !is_any(median, &FLOODED);
            assert_eq!(cpu.is_object(), is_told, "{median}");
            let (of_service, of_postgres) = (!is_any(median, &["pgbench", "raw-200"]), !is_any(median, &["echo"]));
            assert_eq!(cpu["service_micros"].is_number(), is_told && of_service, "{median}");
            assert_eq!(cpu["postgres_micros"].is_number(), is_told && of_postgres, "{median}");
        }
    }
    assert_eq!(record["settings"]["large"]["entries"], 40);
    assert_eq!(record["settings"]["many_customers"]["customers"], 6);
    for median in medians.iter().filter(|median| is_any(median, &WALKS)) {
        assert_eq!(median["completed"], 6, "{median}");
        assert_eq!(median["most_memory_bytes"].is_number(), cfg!(target_os = "linux"), "{median}");
    }
    // Each of the seventeen, and the first also of the stage with one client.
    assert_eq!(record["ratios"].as_array().unwrap().len(), 18, "{}", record["ratios"]);

    with_ratios(&record, &old, |_| 2.0);
    with_ratios(&record, &new, |name| if name.contains(" p") { 2.1 } else { 1.9 });
    let (code, table) = compare(&old, &new).await;
    assert_eq!(code, Some(0), "{table}");
    with_ratios(&record, &new, |_| 1.7);
    let (code, table) = compare(&old, &new).await;
    assert!(code == Some(1) && table.contains("worse") && table.contains("-15.0 %"), "{table}");
    with_ratios(&record, &new, |_| 0.1);
    let (code, table) = compare(&new, &new).await;
    assert!(code == Some(1) && table.contains("short of target"), "{table}");
    std::fs::write(&new, "{}").unwrap();
    for (old, new) in [(&old, &new), (&new, &old), (&old, &none)] {
        assert_eq!(compare(old, new).await.0, Some(2));
    }
}

#[tokio::test]
async fn bench_measures_no_fairness_at_a_service_to_which_it_can_give_no_keys() {
    let ended = run(&["bench", "--only", "fairness", "--address", "http://127.0.0.1:1"]).await;
    assert!(ended.status.code() == Some(2) && ended.stderr.contains("--address"), "{}", ended.stderr);
}
