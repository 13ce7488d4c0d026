//! Completions and man pages, made by the program from its own command line.

use std::process::Stdio;

use tokio::process::Command;

use crate::binary::run;

#[tokio::test]
async fn bash_completes_commands_and_flags() {
    let script = run(&["completions", "bash"]).await;
    assert!(script.status.success(), "{}", script.stderr);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("goldbook");
    std::fs::write(&file, script.stdout).unwrap();
    let complete = async |words: &str, place: u8| {
        let ask = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={place}; _goldbook goldbook \"${{COMP_WORDS[{place}]}}\" \"\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let output = Command::new("bash").args(["-c", &ask]).stdin(Stdio::null()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("goldbook ser", 1).await, ["serve"]);
    assert_eq!(complete("goldbook import bal", 2).await, ["balances"]);
    assert!(complete("goldbook serve --admin", 2).await.contains(&"--admin-listen".to_owned()));
}

#[tokio::test]
async fn other_shells_are_known_and_unknown_ones_are_told() {
    for (shell, begins) in [("zsh", "#compdef goldbook"), ("fish", "#")] {
        let script = run(&["completions", shell]).await;
        assert!(script.status.success() && script.stdout.starts_with(begins), "{shell}: {}", script.stdout);
        assert!(script.stdout.contains("admin-listen"), "{shell}");
    }
    let unknown = run(&["completions", "dos"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(unknown.stderr.contains("zsh"), "{}", unknown.stderr);
}

#[tokio::test]
async fn every_command_has_a_page_of_the_manual() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("man1");
    let written = run(&["man", "--output", folder.to_str().unwrap()]).await;
    assert!(written.status.success(), "{}", written.stderr);
    let read = |page: &str| std::fs::read_to_string(folder.join(page)).unwrap_or_else(|_| panic!("no {page}"));
    let help = run(&["--help"]).await.stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let mut count = 0;
    // A line with more space before it goes on with the one above it.
    let names =
        commands.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split(' ').next());
    for name in names.filter(|name| *name != "help") {
        let page = read(&format!("goldbook-{name}.1"));
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
        count += 1;
    }
    assert!(count > 10, "{help}");
    assert!(read("goldbook-serve.1").contains("admin\\-listen"));
    read("goldbook-import-purchases.1");
    read("goldbook.1");
    let taken = directory.path().join("file");
    std::fs::write(&taken, "").unwrap();
    let refused = run(&["man", "--output", taken.to_str().unwrap()]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("file"), "{}", refused.stderr);
}
