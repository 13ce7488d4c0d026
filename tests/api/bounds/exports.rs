//! An export has an end, and can be gone on with.

use std::time::Duration;

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use tonic::Code;

use super::History;
use crate::binary::run;
use crate::harness::{Background, Database, SHOP, Service, assert_refused};
use crate::wait::until;

fn export(resume_token: &str) -> proto::ExportEntriesRequest {
    proto::ExportEntriesRequest {
        program_id: SHOP.to_owned(),
        resume_token: resume_token.to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn export_entries_ends_after_its_time_and_goes_on_where_it_came_to() {
    let history = History::load(8_000).await;
    let background = Background { export_limit: Some(Duration::from_secs(2)), ..Background::default() };
    let service = Service::start_busy(history.database.clone(), history.clock.clone(), background).await;
    let (mut ids, mut token, mut cut_off) = (Vec::new(), String::new(), 0);
    loop {
        let mut stream = service.ledger().export_entries(export(&token)).await.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap();
        assert_eq!(
            (first.entries_total + i64::try_from(ids.len()).unwrap(), first.resume_token),
            (8_001, token.clone())
        );
        if cut_off == 0 {
            // Nothing is read until the service has let go of its snapshot.
            let mut connection = history.database.connect(SUPERUSER).await;
            let snapshots = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                             AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()";
            until("the export is cut off", async || {
                let open: i64 = sqlx::query_scalar(snapshots).fetch_one(&mut connection).await.unwrap();
                (open == 0).then_some(())
            })
            .await;
        }
        let end = loop {
            match stream.message().await {
                Ok(Some(message)) => {
                    assert!(!message.entries.is_empty());
                    ids.extend(message.entries.into_iter().map(|entry| entry.entry_id));
                    token = message.resume_token;
                }
                end => break end,
            }
        };
        match end {
            Ok(_) => break,
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                assert!(status.message().contains("resume_token"), "{status:?}");
                cut_off += 1;
            }
        }
    }
    assert!(cut_off > 0);
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((count, ids.len()), (8_001, 8_001));
    let other = proto::ExportEntriesRequest { start_time: Some(history.at(7)), ..export(&token) };
    for request in [other, export("AAAA"), export(&"A".repeat(5_000))] {
        let refused = service.ledger().export_entries(request).await.map(drop);
        assert_refused(refused, Code::OutOfRange, "PAGE_TOKEN_INVALID");
    }
}

#[tokio::test]
async fn the_export_command_goes_on_where_the_service_ends_an_export() {
    let history = History::load(60_000).await;
    let background = Background { export_limit: Some(Duration::from_millis(500)), ..Background::default() };
    let service = Service::start_busy(history.database.clone(), history.clock.clone(), background).await;
    let mut stream = service.ledger().export_entries(export("")).await.unwrap().into_inner();
    let end = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end.unwrap_err().code(), Code::ResourceExhausted, "one export is not enough");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("entries.csv");
    let address = format!("http://{}", service.address);
    let output = file.to_str().unwrap();
    let ended = run(&["export", "--address", &address, "--program", SHOP, "--output", output]).await;
    assert!(ended.status.success(), "{}", ended.stderr);
    let text = std::fs::read_to_string(&file).unwrap();
    let mut ids: Vec<&str> = text.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    // With the entry of the export before. Those of the command's own exports are later than what it writes.
    assert_eq!((count, ids.len()), (60_002, 60_002));
}

/// How often the programs of a database were looked up, once nobody is connected any more.
async fn lookups_of_programs(database: &Database) -> i64 {
    super::reads(database).await;
    let mut connection = database.connect(SUPERUSER).await;
    let sum = "SELECT coalesce(sum(idx_scan), 0)::bigint FROM pg_stat_user_indexes
               WHERE relname IN ('programs', 'program_versions')";
    sqlx::query_scalar(sum).fetch_one(&mut connection).await.unwrap()
}

/// An export is an entry of the program's own account. Its versions stay the same, and are not read again.
#[tokio::test]
async fn an_export_makes_the_calls_after_it_look_up_the_program_once() {
    let mut told = Vec::new();
    for exports in [0, 3] {
        let service = Service::start().await;
        service.apply_shop().await;
        let database = service.database.clone();
        for i in 0..60 {
            if i % 20 == 0 && i / 20 < exports {
                let mut stream = service.ledger().export_entries(export("")).await.unwrap().into_inner();
                while stream.message().await.unwrap().is_some() {}
            }
            service.purchase(&format!("c-{}", i % 7), &format!("order-{i}"), "3.00").await.unwrap();
        }
        service.stop().await;
        told.push(lookups_of_programs(&database).await);
    }
    // An export reads its program, and so does one batch after it.
    assert!(told[1] <= told[0] + 3 * 5, "{told:?}");
}
