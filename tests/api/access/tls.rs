//! TLS of the listener, certificates of callers, and files that change.

use std::path::PathBuf;
use std::time::Duration;

use goldbook::access::certificate::CertificateRule;
use goldbook::access::grpc::Identities;
use goldbook::access::issuer::{All, ProgramNames};
use goldbook::access::role::Role;
use goldbook::listener::{Tls, TlsFiles};
use goldbook::proto;
use goldbook::proto::program_service_client::ProgramServiceClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Status};

use super::{by, key_of};
use crate::harness::{Database, Service, shop};
use crate::wait::{until, within};

/// A root that certificates lead to.
pub(crate) struct Root(CertifiedIssuer<'static, KeyPair>);

impl Root {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate with these names, and its key.
    pub(crate) fn issue(&self, names: Vec<SanType>) -> (String, String) {
        self.issue_for(names, 3_600)
    }

    /// The same, which counts for so many seconds.
    fn issue_for(&self, names: Vec<SanType>, seconds: i64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        let end = u64::try_from(super::issuer::from_now(seconds)).unwrap();
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(end);
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn issue_to_service(&self) -> (String, String) {
        self.issue(vec![SanType::DnsName("goldbook.test".try_into().unwrap())])
    }
}

/// The files of a service.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(certificate: &(String, String), client_ca: Option<&Root>) -> (Self, TlsFiles) {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.replace(certificate);
        let client_ca = client_ca.map(|root| {
            std::fs::write(folder.path("clients.pem"), root.pem()).unwrap();
            folder.path("clients.pem")
        });
        let files = TlsFiles { certificate: folder.path("tls.crt"), key: folder.path("tls.key"), client_ca };
        (folder, files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn replace(&self, (certificate, key): &(String, String)) {
        std::fs::write(self.path("tls.crt"), certificate).unwrap();
        std::fs::write(self.path("tls.key"), key).unwrap();
    }
}

async fn start(files: TlsFiles, identities: Identities) -> Service {
    let database = Database::create().await;
    let tls = Tls::load(files).await.unwrap();
    Service::start_configured(database, |settings| {
        settings.tls = Some(tls);
        settings.identities = identities;
    })
    .await
}

/// Connects, trusting this root, and showing a certificate if there is one.
async fn connect(service: &Service, root: &Root, own: Option<&(String, String)>) -> Result<Channel, String> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(root.pem())).domain_name("goldbook.test");
    if let Some((certificate, key)) = own {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let endpoint = Channel::from_shared(format!("https://{}", service.address)).unwrap().tls_config(tls).unwrap();
    within("a connection", endpoint.connect()).await.map_err(|error| format!("{error:?}"))
}

async fn apply(channel: Channel) -> Result<(), Status> {
    let request = proto::ApplyProgramRequest { program: Some(shop()), ..Default::default() };
    ProgramServiceClient::new(channel).apply_program(request).await.map(drop)
}

#[tokio::test]
async fn a_service_with_a_certificate_speaks_tls_and_nothing_else() {
    let (root, stranger) = (Root::new(), Root::new());
    let (_folder, files) = Folder::with(&root.issue_to_service(), None);
    let service = start(files, Identities::default()).await;
    apply(connect(&service, &root, None).await.unwrap()).await.unwrap();
    let refused = connect(&service, &stranger, None).await.unwrap_err();
    assert!(refused.contains("InvalidCertificate"), "{refused}");
    let plain = Channel::from_shared(format!("http://{}", service.address)).unwrap().connect_lazy();
    assert!(within("an answer", apply(plain)).await.is_err());
}

#[tokio::test]
async fn a_certificate_that_changes_holds_for_new_connections_and_breaks_none() {
    let (first, second) = (Root::new(), Root::new());
    let (folder, files) = Folder::with(&first.issue_to_service(), None);
    let service = start(files, Identities::default()).await;
    let open = connect(&service, &first, None).await.unwrap();
    apply(open.clone()).await.unwrap();
    // A file that is being written, or a key that does not fit, changes nothing.
    std::fs::write(folder.path("tls.crt"), "half of a certif").unwrap();
    connect(&service, &first, None).await.unwrap();
    folder.replace(&second.issue_to_service());
    let new = until("the new certificate", async || connect(&service, &second, None).await.ok()).await;
    apply(new).await.unwrap();
    apply(open).await.unwrap();
    assert!(connect(&service, &first, None).await.is_err());
}

#[tokio::test]
async fn a_certificate_that_changes_before_the_service_serves_is_not_overlooked() {
    let (first, second) = (Root::new(), Root::new());
    let (folder, files) = Folder::with(&first.issue_to_service(), None);
    let tls = Tls::load(files).await.unwrap();
    folder.replace(&second.issue_to_service());
    let database = Database::create().await;
    let service = Service::start_configured(database, |settings| settings.tls = Some(tls)).await;
    until("the new certificate", async || connect(&service, &second, None).await.ok()).await;
}

#[tokio::test]
async fn a_certificate_of_a_caller_tells_who_it_is() {
    let (root, stranger) = (Root::new(), Root::new());
    let (_folder, files) = Folder::with(&root.issue_to_service(), Some(&root));
    let rule = |name: &str, uri: Option<&str>, dns: Option<&str>, role| CertificateRule {
        name: name.to_owned(),
        uri: uri.map(str::to_owned),
        dns: dns.map(str::to_owned),
        roles: [role].into(),
        programs: ProgramNames::Word(All::All),
    };
    let certificates = vec![
        rule("manager", Some("spiffe://shop/manager"), None, Role::Manager),
        rule("till", None, Some("till.shop.test"), Role::Service),
    ];
    let service = start(files, Identities { api_keys: true, certificates, ..Identities::default() }).await;
    let uri = |uri: &str| root.issue(vec![SanType::URI(uri.try_into().unwrap())]);
    let dns = |name: &str| root.issue(vec![SanType::DnsName(name.try_into().unwrap())]);
    let code = async |own: Option<&(String, String)>| {
        let channel = connect(&service, &root, own).await.unwrap();
        apply(channel).await.map_or_else(|status| status.code(), |()| Code::Ok)
    };
    assert_eq!(code(Some(&uri("spiffe://shop/manager"))).await, Code::Ok);
    assert_eq!(code(Some(&dns("Till.Shop.Test"))).await, Code::PermissionDenied);
    assert_eq!(code(Some(&uri("spiffe://shop/other"))).await, Code::Unauthenticated);
    assert_eq!(code(Some(&dns("spiffe-shop-manager"))).await, Code::Unauthenticated);
    assert_eq!(code(None).await, Code::Unauthenticated);
    // Somebody else's root proves nothing. The refusal may come with the first call.
    let forged = stranger.issue(vec![SanType::URI("spiffe://shop/manager".try_into().unwrap())]);
    if let Ok(channel) = connect(&service, &root, Some(&forged)).await {
        assert_ne!(apply(channel).await.unwrap_err().code(), Code::PermissionDenied);
    }
    // A key counts beside it, and before a certificate.
    let auditor = key_of(&service.database, "auditors", Role::Auditor, None).await;
    let channel = connect(&service, &root, Some(&uri("spiffe://shop/manager"))).await.unwrap();
    let request = proto::ApplyProgramRequest { program: Some(shop()), ..Default::default() };
    let refused = ProgramServiceClient::new(channel).apply_program(by(&auditor, request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

/// Its connection was made while it counted, and is not closed.
#[tokio::test]
async fn a_certificate_of_a_caller_counts_until_it_expires() {
    let root = Root::new();
    let (_folder, files) = Folder::with(&root.issue_to_service(), Some(&root));
    let certificates = vec![CertificateRule {
        name: "manager".to_owned(),
        uri: Some("spiffe://shop/manager".to_owned()),
        dns: None,
        roles: [Role::Manager].into(),
        programs: ProgramNames::Word(All::All),
    }];
    let service = start(files, Identities { certificates, ..Identities::default() }).await;
    let own = root.issue_for(vec![SanType::URI("spiffe://shop/manager".try_into().unwrap())], 8);
    let channel = connect(&service, &root, Some(&own)).await.unwrap();
    apply(channel.clone()).await.unwrap();
    let refused = until("its end", async || apply(channel.clone()).await.err()).await;
    let told = (refused.code(), refused.message());
    assert_eq!(told, (Code::Unauthenticated, "the certificate of the connection has expired"));
}

#[tokio::test]
async fn a_caller_who_never_agrees_on_tls_holds_up_nobody() {
    let root = Root::new();
    let (_folder, files) = Folder::with(&root.issue_to_service(), None);
    let service = start(files, Identities::default()).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(tokio::net::TcpStream::connect(service.address).await.unwrap());
    }
    apply(connect(&service, &root, None).await.unwrap()).await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn files_that_do_not_fit_together_are_told_by_their_names_alone() {
    let root = Root::new();
    let (certificate, _) = root.issue_to_service();
    let (_, other_key) = root.issue_to_service();
    let (folder, files) = Folder::with(&(certificate.clone(), other_key.clone()), None);
    let told = async |files: TlsFiles| Tls::load(files).await.unwrap_err().to_string();
    assert!(told(files.clone()).await.contains("tls.crt"));
    folder.replace(&(certificate, "-----BEGIN nothing".to_owned()));
    assert!(told(files.clone()).await.ends_with("tls.key: it holds no private key in PEM"));
    folder.replace(&(String::new(), other_key));
    assert!(told(files.clone()).await.ends_with("tls.crt: it holds no certificate in PEM"));
    std::fs::remove_file(folder.path("tls.key")).unwrap();
    assert!(told(files).await.contains("tls.key: "));
}

#[tokio::test]
async fn client_commands_call_over_tls_with_a_key_from_a_file() {
    let root = Root::new();
    let own = root.issue(vec![SanType::IpAddress("127.0.0.1".parse().unwrap())]);
    let (folder, files) = Folder::with(&own, None);
    let service = start(files, Identities { api_keys: true, ..Identities::default() }).await;
    std::fs::write(folder.path("roots.pem"), root.pem()).unwrap();
    let admin = key_of(&service.database, "admin", Role::Admin, None).await;
    std::fs::write(folder.path("key"), format!("{admin}\n")).unwrap();
    let (roots, key) = (folder.path("roots.pem"), folder.path("key"));
    let address = format!("https://{}", service.address);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cdnow/program.toml");
    let apply = ["program", "apply", example, "--address", &address, "--ca", roots.to_str().unwrap()];
    let refused = crate::binary::run(&apply).await;
    assert!(!refused.status.success() && refused.stderr.contains("no credentials"), "{}", refused.stderr);
    let applied = crate::binary::run(&[&apply[..], &["--token-file", key.to_str().unwrap()]].concat()).await;
    assert!(applied.status.success(), "{}", applied.stderr);
    let without_roots = &apply[..5];
    let untrusted = crate::binary::run(&[without_roots, &["--token-file", key.to_str().unwrap()]].concat()).await;
    assert!(!untrusted.status.success(), "the machine's own roots do not lead there");
}
