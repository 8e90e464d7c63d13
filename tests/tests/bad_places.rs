//! Places that can't be read or written: folders without rights, loops, pipes, a full disk.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use modiolus_tests::{Finished, Table, modiolus, scans, shell};

/// Runs without root's power to read everything, which is what most people are.
const PLAIN: [&str; 2] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];

/// A file system of its own, for mounting one that is small.
const MOUNTS: [&str; 2] = ["unshare", "-rm"];

/// Whether a command succeeds here; says so where not.
fn works(wrapper: &[&str], what: &str) -> bool {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).args(["sh", "-c", what]).stdout(Stdio::null()).stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: `{} sh -c {what:?}` does not work here", wrapper.join(" "));
    }
    works
}

fn is_root() -> bool {
    // A new file belongs to whoever makes it.
    use std::os::unix::fs::MetadataExt;
    tempfile::tempfile().unwrap().metadata().unwrap().uid() == 0
}

#[test]
fn what_may_not_be_read_is_a_row_and_the_rest_goes_on() {
    let wrapper: &[&str] = if is_root() { &PLAIN } else { &[] };
    if is_root() && !works(wrapper, "true") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    for name in ["open/I1", "locked/I2", "open/I3"] {
        scans::write(&delivery.join(name), &scans::file(&scans::coronal(1, 32)));
    }
    fs::set_permissions(delivery.join("open/I3"), Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(delivery.join("locked"), Permissions::from_mode(0o0)).unwrap();
    let script = r#""$modiolus" run "$1" --until filter --output "$2""#;
    let run = Finished::of(&mut shell(wrapper, script, &[&delivery, &output]));
    fs::set_permissions(delivery.join("locked"), Permissions::from_mode(0o755)).unwrap();
    let run = run.with_code(0);
    let table = Table::read(&output).none_failed();
    assert_eq!(table.kept(), ["open/I1"], "{run}");
    for path in ["locked", "open/I3"] {
        assert_eq!(table.row(path)["reason"], "unreadable");
        assert!(table.row(path)["detail"].contains("permission"), "{:?}", table.row(path));
    }
}

#[test]
fn an_output_that_may_not_be_written_is_named() {
    let wrapper: &[&str] = if is_root() { &PLAIN } else { &[] };
    if is_root() && !works(wrapper, "true") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    scans::write(&delivery.join("I1"), &scans::file(&scans::coronal(1, 32)));
    fs::create_dir(&output).unwrap();
    fs::set_permissions(&output, Permissions::from_mode(0o555)).unwrap();
    let script = r#""$modiolus" run "$1" --until filter --output "$2""#;
    let run = Finished::failure(&mut shell(wrapper, script, &[&delivery, &output]), &["output", "ermission"]);
    assert!(!run.stderr.contains("RUST_BACKTRACE"), "{run}");
    scans::write(&folder.path().join("file"), b"");
    Finished::failure(
        modiolus().arg("run").arg(&delivery).arg("--output").arg(folder.path().join("file")),
        &["file"],
    );
}

#[test]
fn loops_dead_links_and_pipes_are_rows_and_nothing_waits_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    scans::write(&delivery.join("a/b/I1"), &scans::file(&scans::coronal(1, 32)));
    symlink(&delivery, delivery.join("a/b/round")).unwrap();
    symlink("nothing", delivery.join("dead")).unwrap();
    symlink("self", delivery.join("self")).unwrap();
    assert!(Command::new("mkfifo").arg(delivery.join("pipe")).status().unwrap().success());
    let deep = (0..100).fold(delivery.join("deep"), |path, _| path.join("d"));
    fs::create_dir_all(deep).unwrap();
    Finished::success(
        modiolus().arg("run").arg(&delivery).args(["--until", "filter", "--output"]).arg(&output),
    );
    let table = Table::read(&output).none_failed();
    assert_eq!(table.kept(), ["a/b/I1"]);
    for path in ["a/b/round", "dead", "self", "pipe"] {
        assert_eq!(table.row(path)["reason"], "unreadable", "{path}");
        assert!(!table.row(path)["detail"].is_empty());
    }
    assert_eq!(table.rows().len(), 6, "and one row for the folder that is too deep");
}

#[test]
fn an_output_inside_the_scans_is_not_taken_for_scans() {
    let folder = tempfile::tempdir().unwrap();
    scans::write(&folder.path().join("I1"), &scans::file(&scans::coronal(1, 32)));
    let output = folder.path().join("result");
    for _ in 0..2 {
        Finished::success(
            modiolus().arg("run").arg(folder.path()).args(["--until", "filter", "--output"]).arg(&output),
        );
        assert_eq!(Table::read(&output).rows().len(), 1);
    }
    let other = tempfile::tempdir().unwrap();
    Finished::success(
        modiolus().arg("run").arg(folder.path()).args(["--until", "filter", "--output"]).arg(other.path()),
    );
    assert_eq!(Table::read(other.path()).rows().len(), 1, "nor is that of an earlier run");
}

#[test]
fn a_full_disk_is_named_and_with_more_room_the_run_goes_on() {
    if !works(&MOUNTS, "mount -t tmpfs -o size=64k none /mnt") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output, calm] = ["scans", "output", "calm"].map(|name| folder.path().join(name));
    for number in 1..=20 {
        scans::write(&delivery.join(format!("I{number}")), &scans::file(&scans::coronal(number, 128)));
    }
    fs::create_dir(&output).unwrap();
    let key = scans::key_file(folder.path());
    let script = r#"
        mount -t tmpfs -o size=400k none "$2"
        code=0; "$modiolus" run "$1" --until filter --output "$2" --key-file "$3" || code=$?
        echo "full: $code"
        mount -o remount,size=100m "$2"
        "$modiolus" run "$1" --until filter --output "$2" --key-file "$3"
        cp -r "$2" "$4""#;
    let copy = folder.path().join("copy");
    let arguments: [&Path; 4] = [&delivery, &output, &key, &copy];
    let run = Finished::success(&mut shell(&MOUNTS, script, &arguments)).saying(&["o space left"]);
    assert!(run.stdout.contains("full: 1"), "{run}");
    let mut undisturbed = modiolus();
    undisturbed
        .arg("run")
        .arg(&delivery)
        .args(["--until", "filter", "--output"])
        .arg(&calm)
        .arg("--key-file")
        .arg(&key);
    Finished::success(&mut undisturbed);
    assert_eq!(modiolus_tests::snapshot(&copy), modiolus_tests::snapshot(&calm));
}

#[test]
fn an_output_that_would_be_read_as_scans_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let [delivery, output] = ["scans", "output"].map(|name| folder.path().join(name));
    scans::write(&delivery.join("I1"), &scans::file(&scans::coronal(1, 32)));
    let run = |scans: &Path, output: &Path| {
        let mut command = modiolus();
        command.arg("run").arg(scans).args(["--until", "filter", "--output"]).arg(output);
        Finished::of(&mut command)
    };
    run(&delivery, &output).with_code(0);
    symlink(&delivery, folder.path().join("link")).unwrap();
    for (scans, output) in [
        (&delivery, &delivery),
        (&delivery, &folder.path().join("link")),
        (&output.join("slices"), &output),
        (&output.join(".modiolus/scans"), &output),
    ] {
        run(scans, output).with_code(2).saying(&["another folder"]);
    }
    assert_eq!(modiolus_tests::files_below(&delivery).len(), 1, "nothing was written");
    run(&delivery, folder.path()).with_code(0);
    // A delivery with an earlier output inside: what is in its store are no scans.
    let inner = delivery.join("earlier/.modiolus");
    scans::write(&inner.join("I2"), &scans::file(&scans::coronal(2, 32)));
    run(&delivery, &folder.path().join("other")).with_code(0);
    assert_eq!(Table::read(&folder.path().join("other")).rows().len(), 1);
}
