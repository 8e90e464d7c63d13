//! Writes the definitions of RabbitMQ for Modiolus to standard output, and makes the passwords of its users.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use base64::Engine;
use modiolus_broker::rabbitmq::definitions::{Role, User, definitions};

const USAGE: &str = "usage: modiolus-definitions VHOST FOLDER

Writes what RabbitMQ loads at its start (definitions.local.path) to standard output. FOLDER has a file USER.password for
each user: ingest, filter, preprocess, train, infer, operator, administrator. Those that are missing are made, at random.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [vhost, folder] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match write(vhost, Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("modiolus-definitions: {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(vhost: &str, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let user = |role: Role| {
        let name = role.user_name().to_string();
        let password = password(&folder.join(format!("{name}.password")))?;
        Ok(User { name, password, role })
    };
    let users = Role::all().map(user).collect::<io::Result<Vec<_>>>()?;
    writeln!(io::stdout(), "{:#}", definitions(vhost, &users))
}

/// The password in a file, which is made, for its owner only, when it isn't there.
fn password(path: &Path) -> io::Result<String> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let mut bytes = [0; 24];
            getrandom::fill(&mut bytes)?;
            let password = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
            file.write_all(password.as_bytes())?;
            Ok(password)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match fs::read_to_string(path)?.trim() {
                "" => Err(io::Error::other(format!("{} is empty", path.display()))),
                password => Ok(password.into()),
            }
        }
        Err(error) => Err(error),
    }
}
