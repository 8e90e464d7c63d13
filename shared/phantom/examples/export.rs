//! Writes phantom patients: `export OUTPUT TRUTH [PATIENTS] [FILES] [SEED]`.

use std::io::Write;
use std::path::PathBuf;

use modiolus_phantom::{ExportOptions, export};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: export OUTPUT TRUTH [PATIENTS] [FILES] [SEED]";
    let output = PathBuf::from(arguments.next().ok_or(usage)?);
    let truth = PathBuf::from(arguments.next().ok_or(usage)?);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (patients, files, seed) = (number(3)? as usize, number(60)? as usize, number(1)?);
    let options = ExportOptions { patients, files, seed, output: &output, truth: Some(&truth) };
    writeln!(std::io::stdout(), "{:?}", export(&options)?)?;
    Ok(())
}
