//! API keys, from the command that makes one to the entry that names it.

use goldbook::access::grpc::Identities;
use goldbook::access::role::Role;
use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook::proto;

use super::{apply_shop_by, ask_balance, assert_denied, assert_unknown, by, enrol_by, key_of, start_with_keys};
use crate::binary::{run, url};
use crate::harness::{Database, SHOP, Service, grant_reward};
use crate::wait::until;

const UNKNOWN: &str = "the API key is unknown, has expired, or was revoked";

#[tokio::test]
async fn a_key_is_made_used_listed_and_revoked_by_command() {
    let database = Database::create().await;
    let url = url(&database.options(SERVICE_ROLE));
    let key = async |args: &[&str]| run(&[&["key"], args, &["--database-url", &url]].concat()).await;
    let created = key(&["create", "till", "--role", "admin"]).await;
    assert!(created.status.success(), "{}", created.stderr);
    let secret = created.stdout.trim().to_owned();
    assert!(secret.starts_with("gbk_live_") && secret.len() == 52, "{secret}");
    let prefix = &secret[..17];
    let service = Service::start_asking(database.clone(), Identities { api_keys: true, ..Default::default() }).await;
    apply_shop_by(&service, &secret).await;
    enrol_by(&service, &secret, "anna").await;
    let used = until("its last use", async || {
        let listed = key(&["list"]).await.stdout;
        assert!(listed.contains(prefix) && !listed.contains(&secret), "{listed}");
        (!listed.contains("never")).then_some(listed)
    })
    .await;
    assert!(used.contains("till") && used.contains("admin") && used.contains("live"), "{used}");
    assert!(!key(&["revoke", &secret]).await.status.success(), "a whole key would be in the list of processes");
    assert!(!key(&["revoke", "gbk_live_nothing0"]).await.status.success());
    assert!(key(&["revoke", prefix]).await.status.success());
    until("the end of the key", async || ask_balance(&service, &secret, "anna").await.is_err().then_some(())).await;
    assert_unknown(ask_balance(&service, &secret, "anna").await, UNKNOWN);
    assert!(key(&["list"]).await.stdout.contains("ended"));
}

#[tokio::test]
async fn a_name_has_two_live_keys_at_most() {
    let database = Database::create().await;
    let url = url(&database.options(SERVICE_ROLE));
    let key = async |args: &[&str]| run(&[&["key"], args, &["--database-url", &url]].concat()).await;
    let create = ["create", "till", "--role", "service"];
    let (first, second) = (key(&create).await, key(&create).await);
    assert!(first.status.success() && second.status.success());
    let third = key(&create).await;
    assert!(!third.status.success() && third.stderr.contains("till has two live keys already"), "{}", third.stderr);
    assert!(key(&["revoke", &first.stdout[..17]]).await.status.success());
    assert!(key(&create).await.status.success());
    assert!(key(&["create", "other", "--role", "service", "--role", "support"]).await.status.success());
    for bad in [&["create", "till", "--role", "customer"][..], &["create", "No Name", "--role", "service"]] {
        assert_eq!(key(bad).await.status.code(), Some(2), "{bad:?}");
    }
}

#[tokio::test]
async fn a_key_that_has_expired_does_not_count_and_leaves_its_place() {
    let (service, admin) = start_with_keys().await;
    enrol_by(&service, &admin, "anna").await;
    let url = url(&service.database.options(SERVICE_ROLE));
    let create = ["key", "create", "till", "--role", "service", "--database-url", &url];
    let short = run(&[&create[..], &["--expires-after", "1s"]].concat()).await.stdout.trim().to_owned();
    until("its end", async || ask_balance(&service, &short, "anna").await.is_err().then_some(())).await;
    assert_unknown(ask_balance(&service, &short, "anna").await, UNKNOWN);
    for _ in 0..2 {
        assert!(run(&create).await.status.success());
    }
}

#[tokio::test]
async fn a_key_counts_in_its_programs_alone() {
    let (service, admin) = start_with_keys().await;
    enrol_by(&service, &admin, "anna").await;
    let here = key_of(&service.database, "here", Role::Service, Some(&[SHOP])).await;
    let elsewhere = key_of(&service.database, "elsewhere", Role::Service, Some(&["other"])).await;
    assert_eq!(ask_balance(&service, &here, "anna").await.unwrap(), 0);
    assert_denied(ask_balance(&service, &elsewhere, "anna").await);
    let list = async |key: &str| {
        let listed = service.programs().list_programs(by(key, proto::ListProgramsRequest::default())).await;
        listed.unwrap().into_inner().versions.len()
    };
    assert_eq!((list(&here).await, list(&elsewhere).await), (1, 0));
}

/// Whoever shows keys that were never made waits for the next reading of them, and costs the database no more than that.
#[tokio::test]
async fn keys_that_were_never_made_do_not_count() {
    let (service, _) = start_with_keys().await;
    let unknown = |number: u32| format!("gbk_live_{number:043}");
    let asked: Vec<_> = (0..20).map(unknown).collect();
    let answers = asked.iter().map(|key| ask_balance(&service, key, "anna"));
    for answer in futures_util::future::join_all(answers).await {
        assert_unknown(answer, UNKNOWN);
    }
}

#[tokio::test]
async fn entries_name_who_wrote_them_and_time_names_nobody() {
    let (service, admin) = start_with_keys().await;
    enrol_by(&service, &admin, "anna").await;
    let till = key_of(&service.database, "till", Role::Service, None).await;
    let other = key_of(&service.database, "till", Role::Service, None).await;
    for (key, points, name) in [(&till, 1, "a"), (&other, 2, "b"), (&admin, 3, "c")] {
        service.rewards().grant_reward(by(key, grant_reward("anna", points, name))).await.unwrap();
    }
    let request =
        proto::ListEntriesRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned(), ..Default::default() };
    let entries = service.ledger().list_entries(by(&till, request)).await.unwrap().into_inner().entries;
    let of = |points: i64| {
        let granted = entries.iter().find(|entry| entry.r#move.is_some_and(|it| it.points == points));
        granted.unwrap().principal_id.clone()
    };
    // Both keys of a name are one principal.
    assert_eq!(of(1), of(2));
    assert_ne!(of(1), of(3));
    assert_eq!(entries[0].principal_id, of(3));
    let mut connection = service.database.connect(SERVICE_ROLE).await;
    let named: (String, String) = sqlx::query_as("SELECT kind, subject FROM principals WHERE principal_id = $1::uuid")
        .bind(of(1))
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(named, ("api_key".to_owned(), "till".to_owned()));
}

#[tokio::test]
async fn keys_are_in_the_database_as_hashes_alone() {
    let (service, admin) = start_with_keys().await;
    let mut connection = service.database.connect(SERVICE_ROLE).await;
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT k::text FROM api_keys k").fetch_all(&mut connection).await.unwrap();
    let secret = &admin[17..];
    assert!(rows.iter().all(|row| row.contains(&admin[..17]) && !row.contains(secret)), "{rows:?}");
}

/// A stream is no way to go on with a key that does not count any more.
#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked() {
    let (service, admin) = start_with_keys().await;
    enrol_by(&service, &admin, "anna").await;
    let till = key_of(&service.database, "till", Role::Service, None).await;
    let (send, items) = tokio::sync::mpsc::channel(1);
    let items = tokio_stream::wrappers::ReceiverStream::new(items);
    let answers = service.rewards().batch_grant_rewards(by(&till, items)).await;
    let mut answers = answers.unwrap().into_inner();
    let item = |number: u32| proto::BatchGrantRewardsRequest {
        item_id: number.to_string(),
        grant: Some(grant_reward("anna", 1, &format!("k-{number}"))),
    };
    send.send(item(0)).await.unwrap();
    assert!(answers.message().await.unwrap().is_some());
    let mut connection = service.database.connect(SERVICE_ROLE).await;
    assert!(goldbook::access::revoke_key(&mut connection, &till[..17]).await.unwrap());
    let mut granted = 1;
    let ended = until("the end of the stream", async || {
        // The stream may have ended while this was sent.
        let _ = send.send(item(granted)).await;
        match answers.message().await {
            Ok(answer) => {
                assert!(answer.is_some());
                granted += 1;
                None
            }
            Err(status) => Some(status),
        }
    })
    .await;
    let message = "the credentials that the stream was opened with do not count any more";
    assert_unknown(Err::<(), _>(ended), message);
    let balance = ask_balance(&service, &admin, "anna").await.unwrap();
    assert_eq!(balance, i64::from(granted));
}
