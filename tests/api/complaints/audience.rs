//! Who may do what about complaints, and who is told what: customers see their own, without owners and notes of others.

use goldbook::proto;
use tonic::Code;

use super::{complaining_shop, step};
use crate::access::issuer::{SigningKey, claims_of_customer, claims_of_role};
use crate::access::{by, enrol_by, start_with_issuer};
use crate::harness::SHOP;

#[tokio::test]
async fn customers_see_their_own_complaints_without_owners_and_internal_notes() {
    let key = SigningKey::ed25519("key");
    let (service, _file) = start_with_issuer(&[&key]).await;
    let admin = key.token(&claims_of_role("admin"));
    let apply = proto::ApplyProgramRequest { program: Some(complaining_shop()), ..Default::default() };
    service.programs().apply_program(by(&admin, apply)).await.unwrap();
    enrol_by(&service, &admin, "anna").await;
    enrol_by(&service, &admin, "ben").await;
    let (anna, ben) = (key.token(&claims_of_customer("anna")), key.token(&claims_of_customer("ben")));
    let support = key.token(&claims_of_role("support"));
    let opening = proto::OpenComplaintRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        text: "Late again.".to_owned(),
        idempotency_key: "open".to_owned(),
        ..Default::default()
    };
    let opened = service.complaints().open_complaint(by(&anna, opening.clone())).await.unwrap().into_inner();
    let opened = opened.complaint.unwrap();
    // How much it presses, others say.
    let pressing = proto::OpenComplaintRequest { priority: 3, idempotency_key: "x".to_owned(), ..opening };
    let refused = service.complaints().open_complaint(by(&anna, pressing)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let note = step!(UpdateComplaintRequest, opened, "note", text: "He always complains.".to_owned(),
                     owner: Some("Ola".to_owned()));
    let noted = service.complaints().update_complaint(by(&support, note)).await.unwrap().into_inner();
    assert_eq!(noted.complaint.unwrap().owner, "Ola");
    let answer = step!(UpdateComplaintRequest, opened, "answer", answered: true, text: "Tomorrow.".to_owned());
    service.complaints().update_complaint(by(&support, answer)).await.unwrap();
    let request = proto::GetComplaintRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        complaint_id: opened.complaint_id.clone(),
        as_of: None,
    };
    let words = async |token: &str| {
        let found = service.complaints().get_complaint(by(token, request.clone())).await?.into_inner();
        let found = found.complaint.unwrap();
        let texts: Vec<String> = found.steps.into_iter().map(|step| step.text).collect();
        Ok::<_, tonic::Status>((found.owner, texts))
    };
    let all = ["Late again.", "He always complains.", "Tomorrow."].map(str::to_owned).to_vec();
    assert_eq!(words(&support).await.unwrap(), ("Ola".to_owned(), all.clone()));
    let told = vec![all[0].clone(), String::new(), all[2].clone()];
    assert_eq!(words(&anna).await.unwrap(), (String::new(), told));
    assert_eq!(words(&ben).await.unwrap_err().code(), Code::PermissionDenied);
    let list = proto::ListComplaintsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        ..Default::default()
    };
    let listed = service.complaints().list_complaints(by(&anna, list)).await.unwrap().into_inner().complaints;
    assert_eq!((listed.len(), listed[0].owner.as_str(), listed[0].text.as_str()), (1, "", "Late again."));
    // They score the handling, and do nothing else of the kind.
    let end = proto::ComplaintOutcome::Upheld.into();
    let resolve = step!(ResolveComplaintRequest, opened, "end", outcome: end);
    let refused = service.complaints().resolve_complaint(by(&anna, resolve.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    service.complaints().resolve_complaint(by(&support, resolve)).await.unwrap();
    let score = step!(UpdateComplaintRequest, opened, "score", handling_score: Some(5));
    let more = proto::UpdateComplaintRequest { text: "And".to_owned(), ..score.clone() };
    let refused = service.complaints().update_complaint(by(&anna, more)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let scored = service.complaints().update_complaint(by(&anna, score)).await.unwrap().into_inner();
    let scored = scored.complaint.unwrap();
    assert_eq!((scored.handling_score, scored.owner.as_str()), (Some(5), ""));
    let again = step!(ReopenComplaintRequest, opened, "again", text: "Still late.".to_owned());
    service.complaints().reopen_complaint(by(&anna, again)).await.unwrap();
}
