//! What the ingest stage leaves for the filter stage: every file's attributes or the reason why it was refused.

use modiolus_pipeline::Refusal;
use serde::{Deserialize, Serialize};

use crate::attributes::Attributes;
use crate::header::HeaderRead;

/// The files of one chunk, in the order of the chunk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// One entry for each file.
    pub entries: Vec<IndexEntry>,
}

/// One file.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Its path below the scans' folder, as the caller escaped it. **Identity**: folders are named for patients.
    pub path: String,
    /// Its length in bytes.
    pub file_len: u64,
    /// Why it was refused; None for an image that can be decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// What its header says; of a refused file only if it is DICOM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Box<Attributes>>,
}

impl IndexEntry {
    /// The entry of a file whose header was read; None while more of the file is needed.
    pub fn of(path: String, file_len: u64, header: HeaderRead) -> Option<Self> {
        let (refusal, mut attributes) = match header {
            HeaderRead::Complete(attributes) => (None, Some(attributes)),
            HeaderRead::Refused { refusal, attributes } => (Some(refusal), attributes),
            HeaderRead::NeedMore { .. } => return None,
        };
        if let Some(attributes) = &mut attributes {
            attributes.patient_name.clear();
        }
        Some(Self { path, file_len, refusal, attributes })
    }

    /// The entry of a file that was refused before its header could be read.
    pub fn refused(path: String, file_len: u64, refusal: Refusal) -> Self {
        Self { path, file_len, refusal: Some(refusal), attributes: None }
    }

    /// The attributes of an image that can be decoded, or why there is none.
    ///
    /// # Errors
    /// The file's refusal.
    pub fn image(&self) -> Result<&Attributes, &Refusal> {
        match (&self.refusal, &self.attributes) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(attributes)) => Ok(attributes),
            (None, None) => Err(&NEITHER),
        }
    }
}

/// An index that was written by other hands may have entries with neither attributes nor a refusal.
static NEITHER: std::sync::LazyLock<Refusal> = std::sync::LazyLock::new(|| {
    Refusal::new(
        modiolus_pipeline::Reason::Unreadable,
        "the index has neither attributes nor a reason; index it again",
    )
});

/// Shows no path.
impl std::fmt::Debug for IndexEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexEntry")
            .field("file_len", &self.file_len)
            .field("refusal", &self.refusal)
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_header;
    use crate::write::{CtImage, Syntax};

    #[test]
    fn an_index_comes_back_from_json_and_is_small() {
        let file = CtImage::default().to_bytes(Syntax::ExplicitLittle);
        let header = read_header(&file, file.len() as u64);
        let image = IndexEntry::of("a/b".into(), file.len() as u64, header).unwrap();
        let empty = IndexEntry::of("a/c".into(), 0, read_header(&[], 0)).unwrap();
        assert!(image.image().is_ok() && empty.image().is_err());
        let index = Index { entries: vec![image, empty] };
        let json = serde_json::to_string(&index).unwrap();
        assert!(json.len() < 800, "{json}");
        assert_eq!(serde_json::from_str::<Index>(&json).unwrap(), index);
    }

    #[test]
    fn debug_output_shows_neither_path_nor_patient() {
        let file =
            CtImage { patient_id: "Canary".into(), ..CtImage::default() }.to_bytes(Syntax::ExplicitLittle);
        let entry = IndexEntry::of("Canary/1".into(), 1, read_header(&file, file.len() as u64)).unwrap();
        assert!(!format!("{entry:?}").contains("Canary"));
    }
}
