//! What every gRPC service does, whatever it is about: reflection, compression, limits, deadlines, an orderly end.

use std::collections::BTreeSet;
use std::time::Duration;

use goldbook::proto;
use goldbook::proto::reward_service_client::RewardServiceClient;
use tokio_stream::StreamExt as _;
use tonic::codec::CompressionEncoding::{self, Gzip, Zstd};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::harness::{Clock, Database, SHOP, START, Service, bad_fields, grant_reward};
use crate::proxy::Proxy;
use crate::wait::{answer_at, within};

/// Asks one version of reflection for all services, for the file of one of them, and for that of the details of refusals
/// with the file that it imports.
macro_rules! reflect {
    ($version:ident, $service:expr) => {{
        use tonic_reflection::pb::$version::ServerReflectionRequest;
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;

        let ask =
            |message_request| ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
        let requests = tokio_stream::iter([
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol("goldbook.v1.TierService".to_owned())),
            ask(MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".to_owned())),
            ask(MessageRequest::FileByFilename("google/protobuf/duration.proto".to_owned())),
        ]);
        let mut client = ServerReflectionClient::new($service.channel.clone());
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        let listed = answers.message().await.unwrap().unwrap().message_response.unwrap();
        let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
        let names: BTreeSet<String> = listed.service.into_iter().map(|service| service.name).collect();
        let mut files: Vec<prost_types::FileDescriptorProto> = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            let file = answer.message_response.unwrap();
            let MessageResponse::FileDescriptorResponse(file) = file else { panic!("{file:?}") };
            files.push(prost::Message::decode(file.file_descriptor_proto[0].as_slice()).unwrap());
        }
        (names, files)
    }};
}

fn assert_reflects_everything(names: &BTreeSet<String>, files: &[prost_types::FileDescriptorProto]) {
    for service in proto::SERVICES {
        assert!(names.contains(*service), "{service} is not in {names:?}");
    }
    assert!(names.contains("grpc.health.v1.Health"), "{names:?}");
    let [tiers, details, duration] = files else { panic!("{files:?}") };
    assert_eq!(tiers.service[0].name(), "TierService");
    assert!(tiers.service[0].method.iter().any(|method| method.name() == "GetCustomerTier"));
    // With these, general clients can show the details of a refusal, and not their bytes.
    let messages: Vec<&str> = details.message_type.iter().map(|message| message.name()).collect();
    for detail in ["ErrorInfo", "BadRequest", "PreconditionFailure", "ResourceInfo", "RetryInfo"] {
        assert!(messages.contains(&detail), "{detail} is not in {messages:?}");
    }
    assert_eq!(details.dependency, ["google/protobuf/duration.proto"]);
    assert_eq!(duration.message_type[0].name(), "Duration");
}

#[tokio::test]
async fn reflection_v1_describes_every_service_and_the_details_of_refusals() {
    let service = Service::start().await;
    let (names, files) = reflect!(v1, service);
    assert_reflects_everything(&names, &files);
}

#[tokio::test]
async fn reflection_v1alpha_describes_every_service_and_the_details_of_refusals() {
    let service = Service::start().await;
    let (names, files) = reflect!(v1alpha, service);
    assert_reflects_everything(&names, &files);
}

/// A client that compresses what it sends and takes what it sends.
fn compressing(service: &Service, encoding: CompressionEncoding) -> RewardServiceClient<Channel> {
    service.rewards().send_compressed(encoding).accept_compressed(encoding)
}

#[tokio::test]
async fn requests_and_answers_may_be_compressed_with_gzip_and_zstd() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    for (encoding, name) in [(Gzip, "gzip"), (Zstd, "zstd")] {
        let mut client = compressing(&service, encoding);
        let note = "thank you ".repeat(50).trim().to_owned();
        let request = proto::GrantRewardRequest { note: note.clone(), ..grant_reward("anna", 10, name) };
        let response = client.grant_reward(request).await.unwrap();
        assert_eq!(response.metadata().get("grpc-encoding").unwrap(), name);
        assert_eq!(response.into_inner().reward.unwrap().note, note);

        // Streams too, in both directions.
        let items: Vec<_> = (0..10)
            .map(|number| proto::BatchGrantRewardsRequest {
                item_id: number.to_string(),
                grant: Some(grant_reward("anna", 1, &format!("{name}-{number}"))),
            })
            .collect();
        let outcomes = client.batch_grant_rewards(tokio_stream::iter(items)).await.unwrap();
        assert_eq!(outcomes.metadata().get("grpc-encoding").unwrap(), name);
        let outcomes: Vec<_> = outcomes.into_inner().collect().await;
        assert_eq!(outcomes.into_iter().filter(|outcome| outcome.is_ok()).count(), 10);
    }
    assert_eq!(service.available("anna").await, 40);
    // Who asks for nothing gets nothing compressed.
    let response = service.rewards().grant_reward(grant_reward("anna", 1, "plain")).await.unwrap();
    assert!(response.metadata().get("grpc-encoding").is_none_or(|encoding| encoding == "identity"));
}

#[tokio::test]
async fn a_message_beyond_four_mebibytes_is_refused_compressed_or_not() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let sized = |bytes: usize| proto::GrantRewardRequest { note: "x".repeat(bytes), ..grant_reward("anna", 1, "big") };
    for mut client in [service.rewards(), compressing(&service, Gzip), compressing(&service, Zstd)] {
        // Just below, it is read, and its note is what is wrong.
        let status = client.grant_reward(sized(4 * 1024 * 1024 - 1024)).await.unwrap_err();
        assert_eq!(bad_fields(&status), ["note"]);
        let status = client.grant_reward(sized(4 * 1024 * 1024 + 1)).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.message().contains("the limit of 4194304 bytes"), "{status:?}");
    }
    // The connection is as good as before.
    assert_eq!(service.available("anna").await, 0);
}

#[tokio::test]
async fn a_call_is_answered_at_its_deadline() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let clock = Clock::fixed(START.parse().unwrap());
    let service = Service::start_with(database, proxy.options(), clock).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    proxy.hold_commits();
    let deadline = Duration::from_millis(600);
    let mut request = Request::new(grant_reward("anna", 1, "gift"));
    request.set_timeout(deadline);
    let mut rewards = service.rewards();
    let status = answer_at(deadline, rewards.grant_reward(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");

    // A stream too; what its batch has begun is finished.
    let items: Vec<_> = (0..3)
        .map(|number| proto::BatchGrantRewardsRequest {
            item_id: number.to_string(),
            grant: Some(grant_reward("anna", 1, &format!("gift-{number}"))),
        })
        .collect();
    let mut request = Request::new(tokio_stream::iter(items));
    request.set_timeout(deadline);
    let mut outcomes = rewards.batch_grant_rewards(request).await.unwrap().into_inner();
    let status = within("the end of the stream", outcomes.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    proxy.release_commits();
}

#[tokio::test]
async fn a_deadline_that_is_kept_changes_nothing() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let mut request = Request::new(grant_reward("anna", 1, "gift"));
    request.set_timeout(Duration::from_secs(30));
    assert!(!service.rewards().grant_reward(request).await.unwrap().into_inner().replayed);
}

#[tokio::test]
async fn a_service_that_stops_says_so_answers_what_is_under_way_and_takes_no_more() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let clock = Clock::fixed(START.parse().unwrap());
    let mut service = Service::start_with(database, proxy.options(), clock).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let request = HealthCheckRequest { service: "goldbook.v1.RewardService".to_owned() };
    let mut health = service.health().watch(request).await.unwrap().into_inner();
    let mut status = ServingStatus::Unknown;
    while status != ServingStatus::Serving {
        status = within("health", health.message()).await.unwrap().unwrap().status();
    }
    proxy.hold_commits();
    let mut rewards = service.rewards();
    let unary = tokio::spawn(async move { rewards.grant_reward(grant_reward("anna", 100, "gift")).await });
    proxy.holds(1).await;
    let item = proto::BatchGrantRewardsRequest {
        item_id: "item".to_owned(),
        grant: Some(grant_reward("anna", 10, "streamed")),
    };
    let mut stream = service.rewards().batch_grant_rewards(tokio_stream::iter([item])).await.unwrap().into_inner();

    let (stop, running) = service.split_off_stop();
    stop.send(()).unwrap();
    assert_eq!(within("health", health.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    drop(health);
    assert!(!unary.is_finished() && !running.is_finished());
    proxy.release_commits();
    assert!(!within("the grant", unary).await.unwrap().unwrap().into_inner().replayed);
    let outcome = within("the item", stream.message()).await.unwrap().unwrap().outcome.unwrap();
    assert!(matches!(outcome, proto::batch_grant_rewards_response::Outcome::Granted(_)), "{outcome:?}");
    assert!(within("the end of the stream", stream.message()).await.unwrap().is_none());
    within("the end", running).await.unwrap();
    // The connection may be found broken before the call or half way, which the client reports as one or the other.
    let status = service.grant("anna", 1, "late").await.unwrap_err();
    assert!(matches!(status.code(), Code::Unavailable | Code::Cancelled), "{status:?}");
    let next = Service::start_on(service.database.clone(), service.clock.clone()).await;
    assert_eq!(next.available("anna").await, 110);
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_unimplemented() {
    let service = Service::start().await;
    for path in ["/goldbook.v1.RewardService/NoSuchMethod", "/goldbook.v1.NoSuchService/GrantReward"] {
        let mut client = tonic::client::Grpc::new(service.channel.clone());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<proto::GetBalanceRequest, proto::GetBalanceResponse>::default();
        let request = Request::new(proto::GetBalanceRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            as_of: None,
        });
        let status = client.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
        assert_eq!(status.message(), format!("there is no method {path}"));
    }
}
