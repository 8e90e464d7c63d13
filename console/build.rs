//! A new file among the assets or templates has to be embedded, too.

fn main() {
    println!("cargo:rerun-if-changed=assets");
    println!("cargo:rerun-if-changed=templates");
}
