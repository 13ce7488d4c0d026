//! Tells the program how it was built, for `goldbook --version --verbose`.

use std::env;
use std::error::Error;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo runs this again by itself where the target, the profile or the compiler is another.
    println!("cargo:rerun-if-changed=build.rs");
    let compiler = Command::new(env::var("RUSTC")?).arg("--version").output()?;
    println!("cargo:rustc-env=GOLDBOOK_COMPILER={}", String::from_utf8(compiler.stdout)?.trim());
    println!("cargo:rustc-env=GOLDBOOK_TARGET={}", env::var("TARGET")?);
    println!("cargo:rustc-env=GOLDBOOK_PROFILE={}", env::var("PROFILE")?);
    Ok(())
}
