//! Tries fine-tuning: a base model goes on with a few slices of one kind and is judged on others.
//!
//! usage: fine_tune BASE_FILE OUT_FILE EPOCHS RATE REHEARSAL STYLE|PICTURES_DIR SLICES [MASKS_DIR [NAME,NAME...]]
//!
//! Writes the model, so that `judge` can tell what it is worth. NAMEs leave pictures out.

use std::error::Error;
use std::path::Path;

use modiolus_imaging::png;
use modiolus_phantom::{SliceOptions, Style, slice};
use modiolus_pipeline::Digest;
use modiolus_segmentation::{Data, Device, ModelFile, Picture, Training, device};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [base, output, epochs, rate, rehearsal, source, count, more @ ..] = &arguments[..] else {
        return Err(
            "usage: fine_tune BASE OUT EPOCHS RATE REHEARSAL STYLE|PICTURES SLICES [MASKS [NAME,...]]".into(),
        );
    };
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    device::use_threads(1);
    let base = ModelFile::decode(&std::fs::read(base)?)?;
    let mut plan = base.origin.plan.fine_tuning();
    plan.epochs = epochs.parse()?;
    plan.optimizer.rate = rate.parse()?;
    plan.rehearsal = rehearsal.parse()?;
    let left_out: Vec<&str> = more.get(1).map(|names| names.split(',').collect()).unwrap_or_default();
    let style = Style::ALL.into_iter().find(|style| format!("{style:?}").eq_ignore_ascii_case(source));
    let pictures = match style {
        Some(style) => phantoms(style, count.parse()?),
        None => read(Path::new(source), Path::new(more.first().ok_or("no masks")?), &left_out)?,
    };
    let what = Digest::of(format!("{source} {count}"));
    let data = Data::new(&pictures, &plan)?.rehearsing(modiolus_phantom::training_pair, what);
    let mut training = Training::start(plan, Some(&base), None, Device::choose(), 1)?;
    let metrics = training.train_epochs(&data, u32::MAX, &|| false, &mut |_| ())?;
    println!("{} pictures: {:?}", pictures.len(), metrics.last());
    std::fs::write(output, training.model()?.encode()?)?;
    Ok(())
}

fn phantoms(style: Style, count: u64) -> Vec<Picture> {
    let options = SliceOptions { styles: style.alone(), empty: 0.0, ..SliceOptions::default() };
    let made = (3_000_000_000..3_000_000_000 + count).map(|seed| slice(seed, &options));
    made.map(|made| Picture { image: made.image, mask: made.mask, held_out: false }).collect()
}

fn read(images: &Path, masks: &Path, left_out: &[&str]) -> Result<Vec<Picture>, Box<dyn Error>> {
    let mut pictures = Vec::new();
    for file in std::fs::read_dir(images)? {
        let path = file?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if left_out.contains(&name.as_str()) {
            continue;
        }
        let image = png::decode_grey(&std::fs::read(&path)?)?;
        let mask = png::decode_mask(&std::fs::read(masks.join(format!("{name}_mask.png")))?)?;
        pictures.push(Picture { image, mask, held_out: false });
    }
    Ok(pictures)
}
