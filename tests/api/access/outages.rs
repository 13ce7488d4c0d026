//! Keys of issuers that change, and issuers that are away, while calls go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use goldbook::access::grpc::Identities;
use goldbook::access::issuer::KeySource;
use serde_json::{Value, json};

use super::issuer::{Online, SigningKey, claims_of_customer, claims_of_role, trusted};
use super::{apply_shop_by, ask_balance, assert_unknown, enrol_by};
use crate::harness::{Database, Service};
use crate::wait::until;

fn of_issuer(online: &Online, mut claims: Value) -> Value {
    claims["iss"] = json!(online.name);
    claims
}

async fn start(online: &Online, key: &SigningKey) -> Service {
    let identities = Identities { issuers: vec![trusted(&online.name, KeySource::Discovery)], ..Identities::default() };
    let service = Service::start_asking(Database::create().await, identities).await;
    let admin = key.token(&of_issuer(online, claims_of_role("admin")));
    apply_shop_by(&service, &admin).await;
    enrol_by(&service, &admin, "anna").await;
    service
}

#[tokio::test]
async fn an_issuer_may_be_away_and_its_tokens_go_on_counting() {
    let key = SigningKey::p256("first");
    let online = Online::start(&[&key]).await;
    let service = start(&online, &key).await;
    online.set_away(true);
    // A token that was not seen before, by a key that was.
    let token = key.token(&of_issuer(&online, claims_of_customer("anna")));
    assert_eq!(ask_balance(&service, &token, "anna").await.unwrap(), 0);
}

#[tokio::test]
async fn an_issuer_that_was_never_there_leaves_the_caller_to_try_again() {
    let key = SigningKey::p256("first");
    let online = Online::start(&[&key]).await;
    online.set_away(true);
    let identities = Identities { issuers: vec![trusted(&online.name, KeySource::Discovery)], ..Identities::default() };
    let service = Service::start_asking(Database::create().await, identities).await;
    let token = key.token(&of_issuer(&online, claims_of_customer("anna")));
    let refused = ask_balance(&service, &token, "anna").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    assert_eq!(refused.message(), "the keys of the token's issuer cannot be fetched now; try again");
}

/// A token with an unknown key has the keys fetched once in ten seconds, and no more.
#[tokio::test]
async fn unknown_keys_have_an_issuer_asked_seldom() {
    let key = SigningKey::p256("first");
    let online = Online::start(&[&key]).await;
    let service = start(&online, &key).await;
    let asked = online.asked();
    let message = "the token names a key that its issuer does not have";
    for number in 0..20 {
        let stranger = SigningKey::p256(&format!("unknown-{number}"));
        let token = stranger.token(&of_issuer(&online, claims_of_customer("anna")));
        assert_unknown(ask_balance(&service, &token, "anna").await, message);
    }
    assert!(online.asked() <= asked + 1, "{} times", online.asked() - asked);
}

/// The new key is published first, then used, then the old one is withdrawn, as issuers do. No call fails meanwhile.
#[tokio::test]
async fn a_key_rotation_under_load_fails_no_call() {
    let (first, second) = (SigningKey::p256("first"), SigningKey::rsa("second"));
    let online = Online::start(&[&first]).await;
    let service = Arc::new(start(&online, &first).await);
    let token_of = |key: &SigningKey| key.token(&of_issuer(&online, claims_of_customer("anna")));
    let token = Arc::new(std::sync::Mutex::new(token_of(&first)));
    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (service, token, done, asked) = (service.clone(), token.clone(), done.clone(), asked.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    let token = token.lock().unwrap().clone();
                    assert_eq!(ask_balance(&service, &token, "anna").await.unwrap(), 0);
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let answers = async |more: usize| {
        let seen = asked.load(Ordering::SeqCst);
        until("answers", async || (asked.load(Ordering::SeqCst) >= seen + more).then_some(())).await;
    };
    answers(50).await;
    online.replace(&[&first, &second]);
    // Keys were fetched at the start, so the token waits until they may be fetched again.
    let new = token_of(&second);
    until("the second key", async || ask_balance(&service, &new, "anna").await.ok()).await;
    *token.lock().unwrap() = new;
    answers(50).await;
    online.replace(&[&second]);
    online.set_away(true);
    answers(50).await;
    done.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
}

/// A fetch that fails takes nothing from the keys that are known: tokens that nobody has seen before go on counting, while it
/// is under way and afterwards.
#[tokio::test]
async fn a_failed_fetch_of_keys_under_load_fails_no_call() {
    let key = SigningKey::p256("first");
    let online = Online::start(&[&key]).await;
    let service = start(&online, &key).await;
    online.set_away(true);
    online.set_delay(300);
    let (key, issuer) = (Arc::new(key), online.name.clone());
    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let service = Arc::new(service);
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let (service, key, issuer) = (service.clone(), key.clone(), issuer.clone());
            let (done, asked) = (done.clone(), asked.clone());
            tokio::spawn(async move {
                for number in 0_u64.. {
                    if done.load(Ordering::SeqCst) {
                        break;
                    }
                    // No two tokens are the same, so none of them is remembered.
                    let mut claims = claims_of_customer("anna");
                    (claims["iss"], claims["jti"]) = (json!(issuer), json!(format!("{caller}-{number}")));
                    assert_eq!(ask_balance(&service, &key.token(&claims), "anna").await.unwrap(), 0);
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let answers = async |more: usize| {
        let seen = asked.load(Ordering::SeqCst);
        until("answers", async || (asked.load(Ordering::SeqCst) >= seen + more).then_some(())).await;
    };
    // Keys were fetched at the start, so the stranger comes until they may be fetched again.
    let stranger = SigningKey::p256("unknown").token(&of_issuer(&online, claims_of_customer("anna")));
    let message = "the token names a key that its issuer does not have";
    until("a fetch that fails", async || {
        assert_unknown(ask_balance(&service, &stranger, "anna").await, message);
        (online.turned_away() > 0).then_some(())
    })
    .await;
    // The stranger waited for the fetch, so it is over.
    answers(100).await;
    done.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(online.turned_away(), 1);
}

/// The first caller with a new key does not wait for the issuer. All others have the key all the same.
#[tokio::test]
async fn a_caller_who_goes_away_does_not_end_the_fetching_of_keys() {
    let key = SigningKey::p256("first");
    let online = Online::start(&[&key]).await;
    online.set_delay(300);
    let identities = Identities { issuers: vec![trusted(&online.name, KeySource::Discovery)], ..Identities::default() };
    let service = Service::start_asking(Database::create().await, identities).await;
    let admin = key.token(&of_issuer(&online, claims_of_role("admin")));
    apply_shop_by(&service, &admin).await;
    enrol_by(&service, &admin, "anna").await;
    // The next fetch may begin ten seconds after the first.
    let second = SigningKey::p256("second");
    online.replace(&[&key, &second]);
    let token = second.token(&of_issuer(&online, claims_of_customer("anna")));
    let mut impatient = 0;
    let asked = online.asked();
    until("the fetching for an impatient caller", async || {
        let mut request = super::by(
            &token,
            goldbook::proto::GetBalanceRequest {
                program_id: crate::harness::SHOP.to_owned(),
                customer_id: "anna".to_owned(),
                as_of: None,
            },
        );
        request.set_timeout(std::time::Duration::from_millis(30));
        let outcome = service.rewards().get_balance(request).await;
        impatient += usize::from(outcome.is_err());
        (online.asked() > asked || outcome.is_ok()).then_some(())
    })
    .await;
    assert!(impatient > 0);
    until("the second key", async || ask_balance(&service, &token, "anna").await.ok()).await;
    assert!(online.asked() <= asked + 1, "it was fetched {} times", online.asked() - asked);
}
