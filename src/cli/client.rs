//! The connection to a running service, and what all client commands ask of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use goldbook_api::v1::activity_service_client::ActivityServiceClient;
use goldbook_api::v1::benefit_service_client::BenefitServiceClient;
use goldbook_api::v1::complaint_service_client::ComplaintServiceClient;
use goldbook_api::v1::customer_service_client::CustomerServiceClient;
use goldbook_api::v1::import_service_client::ImportServiceClient;
use goldbook_api::v1::ledger_service_client::LedgerServiceClient;
use goldbook_api::v1::lifecycle_service_client::LifecycleServiceClient;
use goldbook_api::v1::program_service_client::ProgramServiceClient;
use goldbook_api::v1::referral_service_client::ReferralServiceClient;
use goldbook_api::v1::reward_service_client::RewardServiceClient;
use goldbook_api::v1::satisfaction_service_client::SatisfactionServiceClient;
use goldbook_api::v1::segment_service_client::SegmentServiceClient;
use goldbook_api::v1::tier_service_client::TierServiceClient;
use goldbook_api::v1::value_service_client::ValueServiceClient;
use goldbook_api::v1::{GetProgramRequest, ListProgramsRequest, Program, ProgramVersion};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use zeroize::Zeroizing;

use super::error::CliError;
use super::error::with_causes;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most rows that one page may have.
pub(super) const LARGEST_PAGE: i32 = 1_000;

/// Where the service is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ClientOptions {
    /// The address of the running service.
    #[arg(long, value_name = "URL", env = "GOLDBOOK_ADDRESS", default_value = "http://127.0.0.1:50051")]
    pub(crate) address: String,
    /// Roots, in PEM, that the certificate of an https address must lead to, if not those of this machine.
    #[arg(long, value_name = "FILE", env = "GOLDBOOK_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// A file with the API key or token to call with. GOLDBOOK_TOKEN may hold it itself.
    #[arg(long, value_name = "FILE", env = "GOLDBOOK_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl ClientOptions {
    /// Connects to the service.
    ///
    /// # Errors
    /// If the address makes no sense, or nothing answers there.
    pub(crate) async fn connect(&self) -> Result<Client, CliError> {
        let credential = self.read_credential()?;
        let channel = self.endpoint()?.connect().await.map_err(|error| {
            CliError::failed(format_args!(
                "no Goldbook service answers at {}: {}\n\
                 Start one with `goldbook serve`, or say where it is with --address or GOLDBOOK_ADDRESS.",
                self.address,
                with_causes(&error)
            ))
        })?;
        Ok(Client { channel: InterceptedService::new(channel, credential) })
    }

    /// The endpoint at the address.
    ///
    /// # Errors
    /// If the address makes no sense, or the roots cannot be read.
    pub(super) fn endpoint(&self) -> Result<Endpoint, CliError> {
        let endpoint = endpoint(&self.address)?;
        if endpoint.uri().scheme_str() != Some("https") {
            return Ok(endpoint);
        }
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
            None => tls.with_native_roots(),
        };
        endpoint.tls_config(tls).map_err(|error| CliError::usage(with_causes(&error)))
    }

    fn read_credential(&self) -> Result<Credential, CliError> {
        let text = match &self.token_file {
            Some(path) => Some(Zeroizing::new(read(path)?)),
            None => std::env::var("GOLDBOOK_TOKEN").ok().filter(|text| !text.is_empty()).map(Zeroizing::new),
        };
        text.map_or(Ok(Credential::none()), |text| Credential::bearer(&text))
    }
}

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|error| CliError::usage(format_args!("{}: {error}", path.display())))
}

/// Adds the API key or token to each call, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Credential(Option<MetadataValue<Ascii>>);

impl Credential {
    /// For a service that asks nobody who they are.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// An API key or token, with or without blanks around it.
    ///
    /// # Errors
    /// If it cannot stand in a header.
    pub(super) fn bearer(text: &str) -> Result<Self, CliError> {
        let value = format!("Bearer {}", text.trim()).parse();
        let mut value: MetadataValue<Ascii> =
            value.map_err(|_| CliError::usage("the token to call with has characters that no token has"))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// The connection that the clients call through.
pub(super) type Calls = InterceptedService<Channel, Credential>;

/// The endpoint at an address: a URL, or `host:port` alone.
///
/// # Errors
/// If the address makes no sense.
pub(super) fn endpoint(address: &str) -> Result<Endpoint, CliError> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let endpoint = Endpoint::from_shared(url)
        .map_err(|error| CliError::usage(format_args!("{address} is not the address of a service: {error}")))?;
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT))
}

/// A connected service. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    channel: Calls,
}

impl Client {
    /// A client of the service behind this channel.
    pub(super) const fn new(channel: Calls) -> Self {
        Self { channel }
    }

    pub(super) fn activities(&self) -> ActivityServiceClient<Calls> {
        ActivityServiceClient::new(self.channel.clone())
    }

    pub(super) fn benefits(&self) -> BenefitServiceClient<Calls> {
        BenefitServiceClient::new(self.channel.clone())
    }

    pub(super) fn complaints(&self) -> ComplaintServiceClient<Calls> {
        ComplaintServiceClient::new(self.channel.clone())
    }

    pub(super) fn customers(&self) -> CustomerServiceClient<Calls> {
        CustomerServiceClient::new(self.channel.clone())
    }

    pub(super) fn imports(&self) -> ImportServiceClient<Calls> {
        ImportServiceClient::new(self.channel.clone())
    }

    pub(super) fn ledger(&self) -> LedgerServiceClient<Calls> {
        LedgerServiceClient::new(self.channel.clone())
    }

    pub(super) fn lifecycles(&self) -> LifecycleServiceClient<Calls> {
        LifecycleServiceClient::new(self.channel.clone())
    }

    pub(super) fn satisfaction(&self) -> SatisfactionServiceClient<Calls> {
        SatisfactionServiceClient::new(self.channel.clone())
    }

    pub(super) fn programs(&self) -> ProgramServiceClient<Calls> {
        ProgramServiceClient::new(self.channel.clone())
    }

    pub(super) fn referrals(&self) -> ReferralServiceClient<Calls> {
        ReferralServiceClient::new(self.channel.clone())
    }

    pub(super) fn rewards(&self) -> RewardServiceClient<Calls> {
        RewardServiceClient::new(self.channel.clone())
    }

    pub(super) fn tiers(&self) -> TierServiceClient<Calls> {
        TierServiceClient::new(self.channel.clone())
    }

    pub(super) fn segments(&self) -> SegmentServiceClient<Calls> {
        SegmentServiceClient::new(self.channel.clone())
    }

    pub(super) fn value(&self) -> ValueServiceClient<Calls> {
        ValueServiceClient::new(self.channel.clone())
    }

    /// The current version of every program.
    pub(super) async fn list_programs(&self) -> Result<Vec<ProgramVersion>, CliError> {
        let mut versions = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListProgramsRequest { page_size: LARGEST_PAGE, page_token };
            let page = self.programs().list_programs(request).await;
            let page = page.map_err(CliError::refused("cannot list the programs"))?.into_inner();
            versions.extend(page.versions);
            if page.next_page_token.is_empty() {
                return Ok(versions);
            }
            page_token = page.next_page_token;
        }
    }

    /// One version of a program. Version 0 is the current one.
    pub(super) async fn get_program(&self, program_id: &str, version: i32) -> Result<ProgramVersion, CliError> {
        let request = GetProgramRequest { program_id: program_id.to_owned(), version };
        let answer = self.programs().get_program(request).await;
        let answer = answer.map_err(CliError::refused("cannot read the program"))?.into_inner();
        answer.version.ok_or_else(incomplete_answer)
    }

    /// The program of this name. Without a name, the only program there is.
    pub(super) async fn choose_program(&self, named: Option<&str>) -> Result<Program, CliError> {
        if let Some(program_id) = named {
            return self.get_program(program_id, 0).await?.program.ok_or_else(incomplete_answer);
        }
        let mut programs: Vec<Program> =
            self.list_programs().await?.into_iter().filter_map(|version| version.program).collect();
        if programs.len() > 1 {
            let ids: Vec<&str> = programs.iter().map(|program| program.program_id.as_str()).collect();
            let ids = ids.join(", ");
            return Err(CliError::usage(format_args!("there are several programs; name one with --program: {ids}")));
        }
        programs.pop().ok_or_else(|| {
            CliError::failed(
                "the service has no program yet; apply one, such as: \
                 goldbook program apply examples/cdnow/program.toml",
            )
        })
    }
}

/// The error for an answer without a field that the protos promise.
pub(super) fn incomplete_answer() -> CliError {
    CliError::failed("the service's answer lacks what its interface promises; is it another version?")
}

/// The answer of the service, or `None` if it answers that there is no such thing.
pub(super) fn found<T>(answer: Result<tonic::Response<T>, Status>, attempt: &str) -> Result<Option<T>, CliError> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(CliError::refused(attempt)(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_lack_its_scheme_and_may_ask_for_tls() {
        assert_eq!(endpoint("127.0.0.1:50051").unwrap().uri(), "http://127.0.0.1:50051/");
        assert_eq!(endpoint("http://[::1]:50051").unwrap().uri(), "http://[::1]:50051/");
        assert_eq!(endpoint("https://localhost:50051").unwrap().uri(), "https://localhost:50051/");
        assert!(matches!(endpoint("http://not an address"), Err(CliError::Usage(_))));
    }
}
