//! A lot that is used often.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;

use super::{lot_id, reads};
use crate::harness::{SHOP, Service};

#[tokio::test]
async fn list_lot_uses_tells_every_use_once_and_in_order_however_many_there_are() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let reward = service.grant("anna", 100, "grant").await.unwrap().reward.unwrap().reward_id;
    // More than two rows of older uses; the holds use the lot twice each.
    for use_of_it in 0..30 {
        let key = format!("use-{use_of_it}");
        if use_of_it % 3 == 0 {
            let hold = service.hold(2, &key).await.unwrap().hold.unwrap();
            service.capture(&hold.hold_id, 1, &format!("end-{use_of_it}")).await.unwrap();
        } else {
            service.redeem(1, &key).await.unwrap();
        }
    }
    let entries = service.entries("anna").await;
    let expected: Vec<String> = entries
        .iter()
        .filter(|entry| entry.entry_id == reward || entry.lots.iter().any(|part| part.lot_id == reward))
        .map(|entry| entry.entry_id.clone())
        .collect();
    assert!(expected.len() > 40);
    for page_size in [1, 7, 50] {
        let read = |page_token| async {
            let request = proto::ListLotUsesRequest {
                program_id: SHOP.to_owned(),
                customer_id: "anna".to_owned(),
                lot_id: reward.clone(),
                page_size,
                page_token,
            };
            let page = service.rewards().list_lot_uses(request).await.unwrap().into_inner();
            (page.uses, page.next_page_token)
        };
        let (mut told, mut token) = (Vec::new(), String::new());
        loop {
            let (uses, next) = read(token).await;
            assert!(uses.len() <= usize::try_from(page_size).unwrap());
            told.extend(uses.into_iter().map(|lot_use| lot_use.entry_id));
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(told, expected, "{page_size} a page");
    }
    assert_eq!(reward, lot_id(&entries[0].account_id, 3));
}

#[tokio::test]
async fn spends_that_leave_something_in_a_lot_add_no_index_entries() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service.grant("anna", 100, "grant").await.unwrap();
    // As many versions of its row as fit in its page, whoever still sees the old ones.
    for spend in 0..20 {
        service.redeem(1, &format!("spend-{spend}")).await.unwrap();
    }
    let database = service.database.clone();
    service.stop().await;
    reads(&database).await;
    let mut connection = database.connect(SUPERUSER).await;
    let updates = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'lots'";
    let (changed, in_place): (i64, i64) = sqlx::query_as(updates).fetch_one(&mut connection).await.unwrap();
    assert_eq!((changed, in_place), (20, 20));
}
