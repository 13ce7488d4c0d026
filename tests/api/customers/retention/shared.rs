//! Erasing what is kept no longer beside calls, and on several services.

use futures_util::future::join_all;
use goldbook::proto::EntryKind::{ActivityAccepted, DossierErased};

use super::{OFTEN, count, dossier, enrol_known, erased_kinds, keeping, kept, note, send, wait_for_round};
use crate::audit::assert_clean;
use crate::customers::create;
use crate::harness::{SHOP, Service};
use crate::wait::until;

#[tokio::test]
async fn a_purchase_beside_the_worker_keeps_the_whole_dossier_or_comes_after_it() {
    let service = Service::start().await;
    service.apply(keeping(Some(10), Some(10))).await.unwrap();
    let people: Vec<String> = (0..240).map(|i| format!("c-{i}")).collect();
    join_all(people.iter().map(|customer_id| enrol_known(&service, customer_id))).await;
    service.set_clock("2026-02-15T12:00:00Z");
    let workers = [
        Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await,
        Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await,
    ];
    let (service, people) = (&service, &people);
    // Whoever comes last buys first, while the worker is at the others.
    let begun = "ledger_entries WHERE kind = 'dossier_erased'";
    until("the first to be erased", async || (count(service, begun).await > 0).then_some(())).await;
    let buy = async |customer_id: &String| drop(service.purchase(customer_id, "order", "3.00").await.unwrap());
    join_all(people.iter().rev().map(buy)).await;
    wait_for_round(service, SHOP).await;
    for worker in workers {
        worker.stop().await;
    }
    for customer_id in people {
        let kinds = service.kinds(customer_id).await;
        let (notes, dossier) = kept(service, customer_id).await;
        let place = |kind| kinds.iter().position(|it| *it == kind);
        match place(DossierErased) {
            Some(erased) => assert!(!notes && !dossier && Some(erased) < place(ActivityAccepted), "{kinds:?}"),
            None => assert!(notes && dossier, "{kinds:?}"),
        }
    }
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn two_services_look_at_each_account_once() {
    let service = Service::start().await;
    service.apply(keeping(Some(10), Some(10))).await.unwrap();
    // Some pages of them.
    let people: Vec<String> = (0..600).map(|i| format!("c-{i}")).collect();
    let enrol = |customer_id: &String| send(&service, create(dossier(customer_id, "a"), "enrol"));
    join_all(people.iter().map(enrol)).await.into_iter().for_each(|sent| drop(sent.unwrap()));
    service.set_clock("2026-02-15T12:00:00Z");
    let workers = [
        Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await,
        Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await,
    ];
    wait_for_round(&service, SHOP).await;
    let entries = "ledger_entries WHERE reason = 'retention'";
    until("all to be erased", async || (count(&service, entries).await == 600).then_some(())).await;
    // A later round finds nothing.
    service.set_clock("2026-03-15T12:00:00Z");
    wait_for_round(&service, SHOP).await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(count(&service, entries).await, 600);
    let accounts = "(SELECT DISTINCT account_id FROM ledger_entries WHERE reason = 'retention') a";
    assert_eq!(count(&service, accounts).await, 600);
    assert_eq!(count(&service, "customers WHERE dossier <> '{}' OR revision <> 2").await, 0);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn a_batch_that_erases_and_writes_keeps_what_is_written_after_it() {
    let service = Service::start().await;
    service.apply(keeping(Some(10), Some(10))).await.unwrap();
    enrol_known(&service, "anna").await;
    for round in 1..=6 {
        service.set_clock(&format!("2026-{:02}-15T12:00:00Z", 2 + round));
        let worker = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
        let keys: Vec<String> = (0..4).map(|i| format!("{round}-{i}")).collect();
        join_all(keys.iter().map(|key| note(&service, "anna", key))).await;
        wait_for_round(&service, SHOP).await;
        worker.stop().await;
        let last = "entry_notes n JOIN ledger_entries e USING (account_id, account_seq)
                    WHERE e.account_seq > (SELECT coalesce(max(account_seq), 0) FROM ledger_entries
                                           WHERE kind = 'notes_erased')";
        let of_all = count(&service, "entry_notes").await;
        assert_eq!(count(&service, last).await, of_all);
        let granted = "ledger_entries WHERE kind = 'points_granted' AND account_seq >
                       (SELECT coalesce(max(account_seq), 0) FROM ledger_entries WHERE kind = 'notes_erased')";
        assert_eq!(count(&service, granted).await, of_all);
    }
    assert!(erased_kinds(&service, "anna").await.len() < 20);
    assert_clean(&service.database).await;
}
