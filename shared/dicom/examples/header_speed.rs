//! How long one header takes: `cargo run --release -p modiolus-dicom --example header_speed [FILE]`.
//!
//! Without FILE, the header is 4 KiB with 100 elements, 44 of them of an ordinary CT image.

use std::hint::black_box;
use std::time::Instant;

use modiolus_dicom::write::{CtImage, Syntax};
use modiolus_dicom::{HeaderRead, read_header};

const ROUNDS: u32 = 200_000;

fn main() {
    let file = std::env::args_os()
        .nth(1)
        .map_or_else(made_up, |path| std::fs::read(path).expect("FILE can be read"));
    let length = file.len() as u64;
    let prefix = &file[..file.len().min(8192)];
    match read_header(prefix, length) {
        HeaderRead::Complete(attributes) => println!("{attributes:?}"),
        other => println!("{other:?}"),
    }
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(read_header(black_box(prefix), length));
    }
    println!("{:.2} µs for each header", start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
}

fn made_up() -> Vec<u8> {
    let image = CtImage { window: Some((300.0, 2000.0)), ..CtImage::default() };
    let file = image.to_bytes(Syntax::ExplicitLittle);
    let HeaderRead::Complete(attributes) = read_header(&file, file.len() as u64) else { unreachable!() };
    let at = attributes.pixel_offset.map_or(0, |offset| offset as usize - 12);
    let filler = (0..56_u8).flat_map(|element| {
        let head = [0x29, 0x00, element, 0x10, b'L', b'O', 46, 0];
        head.into_iter().chain([b'x'; 46])
    });
    let file: Vec<u8> = file[..at].iter().copied().chain(filler).chain(file[at..].iter().copied()).collect();
    println!("a header of {} bytes", file.len());
    file
}
