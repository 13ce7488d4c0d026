//! Where a service may listen, and the file that configures it.

use goldbook::access::issuer::KeySource;
use goldbook::embedded_postgres::SERVICE_ROLE;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Channel;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;

use super::issuer::{KeyFile, SigningKey};
use crate::binary::{Serving, run, run_in, url};
use crate::harness::{Database, Service};
use crate::wait::{stays, until};

/// Writes a configuration, and runs `goldbook` with it.
struct Configured(tempfile::NamedTempFile);

impl Configured {
    fn of(text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Self(file)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

#[tokio::test]
async fn a_listener_that_others_reach_needs_an_identity_and_tls() {
    let check = async |args: &[&str]| {
        let ended = run(&[&["config", "check", "--listen", "0.0.0.0:0"], args].concat()).await;
        (ended.status.code(), ended.stderr)
    };
    for args in [&[][..], &["--insecure-listen"]] {
        let (code, told) = check(args).await;
        assert!(code == Some(2) && told.contains("would not ask callers who they are"), "{told}");
    }
    let (code, told) = check(&["--api-keys"]).await;
    assert!(code == Some(2) && told.contains("others could read and change what is sent"), "{told}");
    assert_eq!(check(&["--api-keys", "--insecure-listen"]).await.0, Some(0));
    let serve = run(&["serve", "--listen", "0.0.0.0:0"]).await;
    assert!(serve.status.code() == Some(2) && serve.stderr.contains("who they are"), "{}", serve.stderr);
}

#[tokio::test]
async fn a_service_without_identities_says_so_and_one_with_keys_asks() {
    let database = Database::create().await;
    let options = database.options(SERVICE_ROLE);
    let open = Serving::start(&options, &[]).await;
    let list = async |address: std::net::SocketAddr| {
        let service = Service::at(address, database.clone()).await;
        service.programs().list_programs(goldbook::proto::ListProgramsRequest::default()).await
    };
    list(open.address).await.unwrap();
    open.signal(nix::sys::signal::Signal::SIGTERM);
    let said = "callers are not asked who they are: everyone on this machine may do everything";
    let (_, log) = open.wait().await;
    assert!(log.iter().any(|line| line["fields"]["message"] == said), "{log:?}");
    let asking = Serving::start(&options, &[("GOLDBOOK_API_KEYS", "true")]).await;
    assert_eq!(list(asking.address).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_file_configures_what_flags_do_and_flags_win() {
    let database = Database::create().await;
    let url = url(&database.options(SERVICE_ROLE)).replace("goldbook_service@", "goldbook_service:hunter2@");
    let file = Configured::of(&format!(
        "lanes = 3\napi_keys = true\ndatabase_url = \"{url}\"\n
         [[issuer]]\nissuer = \"https://login.example.com\"\naudience = [\"goldbook\"]\nroles_claim = \"roles\"
         programs = \"all\"\n"
    ));
    let show = async |args: &[&str]| run(&[&["config", "show", "--config", file.path()], args].concat()).await;
    let shown = show(&[]).await;
    assert!(shown.status.success(), "{}", shown.stderr);
    for line in ["lanes = 3", "api_keys = true", "issuer = \"https://login.example.com\"", "read_connections = 8"] {
        assert!(shown.stdout.contains(line), "{line}: {}", shown.stdout);
    }
    assert!(!shown.stdout.contains("hunter2") && shown.stdout.contains(":***@"), "{}", shown.stdout);
    assert!(show(&["--lanes", "5"]).await.stdout.contains("lanes = 5"));
    // What is shown can be read again, but for the password.
    let again = Configured::of(&shown.stdout.replace("database_url", "# database_url"));
    let reread = run(&["config", "show", "--config", again.path()]).await;
    assert!(reread.stdout.contains("lanes = 3"), "{}", reread.stderr);
    // The file's secrets are in no help text and in no error.
    for args in [&["serve", "--config", file.path(), "--help"][..], &["serve", "--config", file.path(), "--lanes", "x"]]
    {
        let ended = run(args).await;
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("hunter2"));
    }
}

#[tokio::test]
async fn a_wrong_database_url_is_told_without_its_password() {
    let file = Configured::of("database_url = \"postgres://goldbook:hunter2/3@db/loyalty\"");
    for args in [&["serve", "--config", file.path()][..], &["config", "show", "--config", file.path()]] {
        let ended = run(args).await;
        assert_eq!(ended.status.code(), Some(2), "{args:?}");
        assert!(ended.stderr.contains("percent-encoded") && !ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_file_that_is_wrong_is_refused_with_what_is_wrong() {
    let told = async |text: &str| {
        let file = Configured::of(text);
        let ended = run(&["serve", "--config", file.path()]).await;
        assert_eq!(ended.status.code(), Some(2), "{text}");
        ended.stderr
    };
    assert!(told("lane = 3").await.contains("there is no setting lane"));
    assert!(told("lanes = \"many\"").await.contains("lanes: invalid"));
    assert!(told("[[isuer]]\nissuer = \"x\"").await.contains("isuer"));
    assert!(told("[[issuer]]\nissuer = \"x\"\naudience = []").await.contains("`audience` must name"));
    let missing = run(&["serve", "--config", "/nowhere/goldbook.toml"]).await;
    assert!(missing.status.code() == Some(2) && missing.stderr.contains("/nowhere/goldbook.toml"));
    for args in [&["--tls-key", "x"][..], &["--tls-client-ca", "x"], &["--owner-database-url", "postgres://x"]] {
        assert_eq!(run(&[&["config", "check"], args].concat()).await.status.code(), Some(2), "{args:?}");
    }
}

/// A table of an issuer whose keys come from there.
fn issuer(name: &str, keys: &str) -> String {
    format!(
        "[[issuer]]\nissuer = \"{name}\"\nkeys = {keys}\naudience = [\"goldbook\"]\nroles_claim = \"roles\"\n\
         programs = \"all\"\n"
    )
}

#[tokio::test]
async fn all_faults_of_a_configuration_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("broken.json"), "{\"keys\": []}").unwrap();
    let with_file = |name: &str, file: &str| issuer(name, &format!("{{ file = \"{}\" }}", path(file)));
    let check = async |text: &str| {
        let file = Configured::of(text);
        run(&["config", "check", "--config", file.path()]).await
    };
    // Forms of files and settings, which the text alone tells.
    let discovery = issuer("http://plain.example.com", "\"discovery\"");
    let user = issuer("https://u:hunter2@user.example.com", "\"discovery\"");
    let url = issuer("plain", "{ url = \"http://keys.example.com\" }");
    let secret_url = issuer("secret", "{ url = \"https://u:hunter2@keys.example.com\" }");
    let forms = format!("lanes = \"many\"\ndues_ms = -1\nlane = 3\n{discovery}{user}{url}{secret_url}");
    // What only the files tell.
    let (missing, broken) = (with_file("missing", "none.json"), with_file("broken", "broken.json"));
    let files = format!(
        "listen = \"0.0.0.0:0\"\ntls_certificate = \"{0}\"\ntls_key = \"{0}\"\nerasure_key_file = \"{1}\"\n\
         owner_database_url = \"postgres://u:hunter2/3@db/x\"\n{missing}{broken}\
         [[certificate]]\nname = \"till\"\ndns = \"till.shop\"\nroles = [\"service\"]\nprograms = \"all\"\n",
        path("none.pem"),
        path("none.keys"),
    );
    let of_forms = [
        "lanes: ",
        "dues_ms: ",
        "there is no setting lane\n",
        "issuer http://plain.example.com: its keys are looked for at its name, which must be https",
        "issuer https://…@user.example.com: its keys are looked for at its name, which must not hold a user",
        "issuer plain: `keys.url` must be https",
        "issuer secret: `keys.url` must not hold a user",
    ];
    let of_files = [
        "none.pem: ",
        "none.keys: ",
        "percent-encoded",
        "--owner-database-url needs --database-url",
        "--tls-client-ca",
        "none.json: ",
        "broken.json: it has no key that tokens can be signed with",
    ];
    for (text, faults) in [(forms, of_forms), (files, of_files)] {
        let ended = check(&text).await;
        assert_eq!(ended.status.code(), Some(2));
        for fault in faults {
            assert!(ended.stderr.contains(fault), "{fault}: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    let keys = KeyFile::of(&[&SigningKey::ed25519("one")]);
    let KeySource::File(file) = keys.source() else { unreachable!() };
    let local = issuer("local", "{ url = \"http://127.0.0.1:1/keys\" }");
    let sound = check(&format!("{}{local}", issuer("file", &format!("{{ file = \"{}\" }}", file.display())))).await;
    assert!(sound.status.success(), "{}", sound.stderr);
}

/// What a caller without credentials is answered who asks for reflection.
async fn ask_for_reflection(channel: Channel) -> Code {
    let mut client = ServerReflectionClient::new(channel);
    let answer = client.server_reflection_info(tokio_stream::empty::<ServerReflectionRequest>()).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn reflection_can_be_left_out() {
    for is_on in [true, false] {
        let service = Service::start_configured(Database::create().await, |settings| settings.reflection = is_on).await;
        let code = ask_for_reflection(service.channel.clone()).await;
        assert_eq!(code, if is_on { Code::Ok } else { Code::Unimplemented });
    }
}

#[tokio::test]
async fn reflection_is_open_on_this_machine_and_elsewhere_by_its_flag_alone() {
    let database = Database::create().await.options(SERVICE_ROLE);
    let everywhere = ["--listen", "0.0.0.0:0", "--api-keys", "--insecure-listen"];
    let with_flag = [&everywhere[..], &["--reflection"]].concat();
    let local = ["--listen", "127.0.0.1:0", "--api-keys"];
    for (flags, is_open) in [(&everywhere[..], false), (&with_flag, true), (&local, true)] {
        let serving = Serving::start_at(&database, flags).await;
        let address = format!("http://127.0.0.1:{}", serving.address.port());
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        assert_eq!(ask_for_reflection(channel).await == Code::Ok, is_open, "{flags:?}");
    }
}

#[tokio::test]
async fn no_more_connections_are_open_than_there_may_be() {
    let database = Database::create().await;
    // One is the harness's own.
    let service = Service::start_configured(database, |settings| settings.connections.most = 3).await;
    let answers = async |stream: &TcpStream| {
        // The server's first frame: its settings.
        stream.readable().await.unwrap();
        let mut bytes = [0; 9];
        stream.try_read(&mut bytes).is_ok_and(|count| count == 9)
    };
    // A caller greets, and so is HTTP/2 spoken.
    let greet = async || {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        stream.write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat()).await.unwrap();
        stream
    };
    let mut open = Vec::new();
    for _ in 0..2 {
        let stream = greet().await;
        until("settings", async || answers(&stream).await.then_some(())).await;
        open.push(stream);
    }
    let waiting = greet().await;
    stays("the third waits", async || waiting.try_read(&mut [0; 9]).is_err()).await;
    drop(open.pop());
    until("its turn", async || answers(&waiting).await.then_some(())).await;
}

#[tokio::test]
async fn a_password_on_the_command_line_is_refused() {
    let url = "postgres://goldbook_owner:hunter2@%2Fnowhere/goldbook";
    for command in [&["serve"][..], &["migrate"], &["audit"], &["key", "list"], &["config", "check"]] {
        let refused = run(&[command, &["--database-url", url]].concat()).await;
        assert_eq!(refused.status.code(), Some(2), "{command:?}");
        assert!(refused.stderr.contains("DATABASE_URL") && !refused.stderr.contains("hunter2"), "{}", refused.stderr);
    }
    assert!(run_in(&[("GOLDBOOK_DATABASE_URL", url)], &["config", "check"]).await.status.success());
}

/// Each flag of `serve`, with a value that is not its default. URLs are given by their variables.
const FLAGS: &[(&str, &str)] = &[
    ("--listen", "127.0.0.1:7"),
    ("--admin-listen", "off"),
    ("--insecure-listen", ""),
    ("--tls-certificate", "/cert"),
    ("--tls-key", "/key"),
    ("--tls-client-ca", "/ca"),
    ("--reflection", ""),
    ("--connections", "7"),
    ("--erasure-key-file", "/erasure"),
    ("--api-keys", ""),
    ("--cors-origin", "https://shop.example"),
    ("--always-sample", "errors,slow"),
    ("--slow-ms", "7"),
    ("--database-url", "postgres://a@localhost/d"),
    ("--owner-database-url", "postgres://o@localhost/d"),
    ("--service-role", "role"),
    ("--data-dir", "/data"),
    ("--postgres-bin", "/bin"),
    ("--no-migrate", ""),
    ("--wait-for-database", "7"),
    ("--lanes", "7"),
    ("--read-connections", "7"),
    ("--dues-ms", "7"),
    ("--liability-seconds", "7"),
    ("--retention-minutes", "7"),
    ("--export-minutes", "7"),
];

#[tokio::test]
async fn every_flag_is_shown_and_no_secret_is() {
    let help = run(&["serve", "--help"]).await.stdout;
    let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let mut flags: Vec<String> = flags.map(|flag| format!("--{}", flag.split([' ', '=']).next().unwrap())).collect();
    flags.retain(|flag| flag != "--config" && flag != "--help");
    let mut known: Vec<&str> = FLAGS.iter().map(|(flag, _)| *flag).collect();
    flags.sort_unstable();
    known.sort_unstable();
    assert_eq!(flags, known);
    let args = FLAGS.iter().filter(|(flag, _)| !flag.ends_with("database-url"));
    let args: Vec<&str> = args.flat_map(|(flag, value)| [*flag, *value]).filter(|arg| !arg.is_empty()).collect();
    let urls = [
        ("GOLDBOOK_DATABASE_URL", "postgres://a:very-secret@localhost/d"),
        ("GOLDBOOK_OWNER_DATABASE_URL", "postgres://o:very-secret@localhost/d"),
    ];
    let shown = run_in(&urls, &[&["config", "show"], args.as_slice()].concat()).await;
    assert!(!shown.stdout.contains("very-secret"), "{}", shown.stdout);
    let table: toml::Table = shown.stdout.parse().unwrap();
    let missing = |flag: &&&str| !table.contains_key(&flag.trim_start_matches('-').replace('-', "_"));
    assert_eq!(known.iter().filter(missing).collect::<Vec<_>>(), [&""; 0]);
}
