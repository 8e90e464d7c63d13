use std::collections::HashMap;
use std::fs;

use super::*;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn load(file: &str, environment: &[(&str, &str)], settings: &[&str]) -> Result<Configuration, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.toml");
    fs::write(&path, file).unwrap();
    let variables: HashMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let environment = Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).separator(SEPARATOR);
    let environment = environment.ignore_empty(true).source(Some(variables));
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    Configuration::of(Some(&path), environment, &settings).map_err(|error| error.to_string())
}

#[test]
fn later_sources_win() {
    let file = "[broker]\nvirtual_host = \"file\"\nuser = \"file\"\n[worker]\nslots = 3\n";
    let environment =
        [("MODIOLUS__BROKER__USER", "env"), ("MODIOLUS__WORKER__SLOTS", "5"), ("MODIOLUS_KEY", "x")];
    let all = load(file, &environment, &["worker.slots=7"]).unwrap();
    assert_eq!(all.broker.address, "amqp://rabbitmq:5672");
    assert_eq!(all.broker.virtual_host, "file");
    assert_eq!(all.broker.user.as_deref(), Some("env"));
    assert_eq!(all.worker.slots.map(NonZeroUsize::get), Some(7));
    let empty = load(file, &[("MODIOLUS__BROKER__USER", "")], &[]).unwrap();
    assert_eq!(empty.broker.user.as_deref(), Some("file"));
}

#[test]
fn a_mistake_is_refused_by_name() {
    let cases = [
        ("[broker]\nadress = \"amqp://a\"\n", "adress"),
        ("[brokers]\naddress = \"amqp://a\"\n", "brokers"),
        ("[worker]\nslots = 0\n", "worker.slots"),
        ("[worker]\nslots = \"many\"\n", "worker.slots"),
        ("[worker]\nidle_seconds = 0\n", "worker.idle_seconds"),
        ("[log]\nformat = \"xml\"\n", "xml"),
        ("[http]\nlisten = \"here\"\n", "http.listen"),
        ("[store]\nfolder = \"/a\"\nendpoint = \"http://a\"\n", "store.folder"),
        ("[broker]\npassword = \"s3cret\"\npassword_file = \"/a\"\n", "broker.password_file"),
        ("[store]\naccess_key = \"s3cret\"\naccess_key_file = \"/a\"\n", "store.access_key_file"),
        ("[store]\nsecret_key = \"s3cret\"\nsecret_key_file = \"/a\"\n", "store.secret_key_file"),
        ("[pseudonyms]\nkey = \"s3cret\"\nkey_file = \"/a\"\n", "pseudonyms.key_file"),
        ("[broker]\npassword = \"s3cret\n", "line 2"),
    ];
    for (file, wanted) in cases {
        let error = load(file, &[], &[]).unwrap_err();
        assert!(error.contains(wanted) && !error.contains("s3cret"), "{file}: {error}");
    }
    let error = load("", &[("MODIOLUS__STORE__REGIONS", "x")], &[]).unwrap_err();
    assert!(error.contains("regions"), "{error}");
    for bad in ["broker.password=s3cret", "s3cret", "worker.slot=1"] {
        let error = load("", &[], &[bad]).unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_named_file_has_to_be_there() {
    let error = Configuration::load(Some(Path::new("/no/such.toml")), &[]).unwrap_err().to_string();
    assert!(error.contains("/no/such.toml"), "{error}");
}

#[test]
fn secrets_come_from_files_and_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, format!("{KEY}\n")).unwrap();
    let text = format!(
        "[broker]\npassword_file = '{0}'\n[store]\naccess_key = 'GK'\nsecret_key_file = '{0}'\n[pseudonyms]\nkey_file = '{0}'\n",
        file.display()
    );
    let all = load(&text, &[], &[]).unwrap();
    assert!(all.broker.settings("infer").is_ok() && all.store.s3_options().is_ok());
    let same = load(&format!("[pseudonyms]\nkey = '{KEY}'\n"), &[], &[]).unwrap();
    let patient = |all: &Configuration| all.pseudonyms.secret().unwrap().patient("207");
    assert_eq!(patient(&all), patient(&same));
    assert!(!format!("{same:?}").contains(&KEY[..8]));
}

#[test]
fn what_is_missing_or_of_another_form_is_named() {
    let refused = |file: &str| {
        let all = load(file, &[], &[]).unwrap();
        let errors =
            [all.broker.settings("infer").err(), all.store.s3_options().err(), all.pseudonyms.secret().err()];
        errors.into_iter().flatten().map(|error| error.to_string()).collect::<Vec<_>>().join("\n")
    };
    let text = refused("");
    for key in ["broker.password_file", "store.access_key_file", "pseudonyms.key_file"] {
        assert!(text.contains(key), "{text}");
    }
    for address in ["amqp://me:s3cret@host:5672", "amqp://host/vhost", "http://host", "amqp://"] {
        let text = refused(&format!("[broker]\naddress = '{address}'\npassword = 'x'\n"));
        assert!(text.contains("broker.address") && !text.contains("s3cret"), "{text}");
    }
    let text = refused("[pseudonyms]\nkey = 'hunter2'\n");
    assert!(text.contains("64 hexadecimal digits") && !text.contains("hunter2"), "{text}");
    let text = refused("[pseudonyms]\nkey_file = '/no/such'\n");
    assert!(text.contains("pseudonyms.key_file") && text.contains("/no/such"), "{text}");
}

#[test]
fn a_folder_needs_no_keys() {
    let folder = tempfile::tempdir().unwrap();
    let all = load(&format!("[store]\nfolder = '{}'\n", folder.path().display()), &[], &[]).unwrap();
    assert!(all.store.is_folder() && all.open_store().is_ok());
}
