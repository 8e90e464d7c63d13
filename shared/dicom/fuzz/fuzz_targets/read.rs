//! Any bytes: the header by growing prefixes, then the whole file, then the file without identity.

#![no_main]

use libfuzzer_sys::fuzz_target;
use modiolus_dicom::{Deidentifier, HeaderRead, decode, read_header};
use modiolus_pipeline::Secret;

fuzz_target!(|file: &[u8]| {
    let length = file.len() as u64;
    let mut up_to = file.len().min(132);
    while let HeaderRead::NeedMore { up_to: next } = read_header(&file[..up_to], length) {
        assert!(next > up_to as u64 && next <= length);
        up_to = next as usize;
    }
    if let Ok(instance) = decode(file) {
        assert_eq!(instance.stored.len(), instance.attributes.rows as usize * instance.attributes.columns as usize);
        // A sequence that decoding steps over may still be too damaged to be cleaned: then the file is refused.
        if let Ok(clean) = Deidentifier::new(&Secret::new([0; 32])).apply(file) {
            assert_eq!(decode(&clean).expect("what was de-identified decodes").stored, instance.stored);
        }
    }
});
