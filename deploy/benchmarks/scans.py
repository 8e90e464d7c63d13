"""Makes the folders of scans that the filter is measured on: run as a script, with pydicom at hand.

usage: scans.py OUTPUT PATIENTS FILES [sparse]

FILES CT slices for each patient, 400 x 400 x 16 bit, Explicit VR Little Endian, no file endings, about a hundred
attributes as reconstruction software writes them. 26 in 1,000 are coronal, the others sagittal, axial and oblique.
sparse: only the coronal slices have pixels on disk; the others' are holes, which no program here reads.
"""

import array
import pathlib
import random
import sys

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

EDGE = 400
PIXELS = 2 * EDGE * EDGE
CORONAL_IN_1000 = 26
CORONAL = ["0.999971", "-0.004", "0.0064", "0.0063", "0.011", "-0.99991"]
OTHERS = [
    ["0.003", "1", "0", "0", "0.004", "-1"],
    ["1", "0", "0", "0", "1", "0"],
    ["0.866025", "0.5", "0", "0", "0", "-1"],
    ["0.707107", "0.707107", "0", "-0.408248", "0.408248", "0.816497"],
]


def item(**attributes):
    made = Dataset()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def header(patient, uid):
    """The attributes that all slices of a patient share."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.ImplementationClassUID = f"{uid}.1"
    values = dict(
        SpecificCharacterSet="ISO_IR 100", ImageType=["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"],
        InstanceCreationDate="20190304", InstanceCreationTime="101730.000", SOPClassUID=CTImageStorage,
        StudyDate="20190304", SeriesDate="20190304", AcquisitionDate="20190304", ContentDate="20190304",
        StudyTime="101500", SeriesTime="101600", AcquisitionTime="101601", ContentTime="101730",
        AccessionNumber="A20190304-17", Modality="CT", Manufacturer="Reconstruction Works",
        InstitutionName="University Hospital, Otorhinolaryngology", InstitutionAddress="1 Hospital Way",
        ReferringPhysicianName="Referring^Physician", StationName="CBCT-1", StudyDescription="Temporal bone after implantation",
        ProcedureCodeSequence=Sequence([item(CodeValue="CBCT-TB", CodingSchemeDesignator="99LOCAL", CodeMeaning="Temporal bone")]),
        SeriesDescription="MPR", InstitutionalDepartmentName="Radiology", PerformingPhysicianName="Performing^Physician",
        OperatorsName="Operator^One", ManufacturerModelName="Cone Beam 5G", DerivationDescription="Multiplanar reformat",
        ReferencedStudySequence=Sequence([item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID=f"{uid}.9")]),
        SourceImageSequence=Sequence([item(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=f"{uid}.8.{n}") for n in range(4)]),
        PatientName=f"Patient^{patient:04}", PatientID=f"P{patient:04}", PatientBirthDate="19500101", PatientSex="O",
        PatientAge="069Y", PatientSize="1.72", PatientWeight="70", PatientComments="Cochlear implant, left",
        ContrastBolusAgent="none", BodyPartExamined="HEAD", ScanOptions="NORMAL", SliceThickness="0.2", KVP="110",
        DataCollectionDiameter="150", DeviceSerialNumber="12345", SoftwareVersions="12.0.1", ProtocolName="Ear high resolution",
        ReconstructionDiameter="80", DistanceSourceToDetector="640", DistanceSourceToPatient="430", GantryDetectorTilt="0",
        TableHeight="120", RotationDirection="CW", ExposureTime="5400", XRayTubeCurrent="4", Exposure="21", FilterType="CU",
        GeneratorPower="1", FocalSpots="0.3", ConvolutionKernel="SHARP", PatientPosition="HFS", AcquisitionType="CONSTANT_ANGLE",
        ExposureModulationType="ANGULAR", CTDIvol=4.2, StudyInstanceUID=f"{uid}.2",
        SeriesInstanceUID=f"{uid}.3", StudyID="1", SeriesNumber="3", AcquisitionNumber="1", PatientOrientation=["L", "F"],
        FrameOfReferenceUID=f"{uid}.4", PositionReferenceIndicator="", ImagesInAcquisition="1000", ImageComments="reformatted",
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", Rows=EDGE, Columns=EDGE, PixelSpacing=["0.2", "0.2"],
        BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=0, SmallestImagePixelValue=0,
        LargestImagePixelValue=4095, BurnedInAnnotation="NO", WindowCenter="1030.5", WindowWidth="3061", RescaleIntercept="-1000",
        RescaleSlope="1", RescaleType="HU", WindowCenterWidthExplanation="Bone", LossyImageCompression="00",
        RequestingPhysician="Requesting^Physician", RequestedProcedureDescription="CBCT temporal bone",
        PerformedProcedureStepStartDate="20190304", PerformedProcedureStepStartTime="101500",
        PerformedProcedureStepID="1", PerformedProcedureStepDescription="CBCT temporal bone",
        RequestAttributesSequence=Sequence([item(ScheduledProcedureStepID="1", RequestedProcedureID="R1")]),
        PresentationLUTShape="IDENTITY", RequestedProcedureID="R1",
    )
    for name, value in values.items():
        setattr(data, name, value)
    private = data.private_block(0x0019, "RECONSTRUCTION 1.0", create=True)
    for element in range(12):
        private.add_new(element, "LO", f"parameter {element} of the reconstruction")
    return data


def picture(patient, number):
    """400 x 400 grey values that no other slice has: soft shapes and noise, with the bright dots of an array."""
    source = random.Random(patient * 100_000 + number)
    noise = source.randbytes(EDGE * EDGE)
    across, down = source.uniform(60, 340), source.uniform(60, 340)
    rows = [abs(line - down) for line in range(EDGE)]
    columns = [abs(column - across) for column in range(EDGE)]
    grey = array.array("H", (2200 - int(3 * (r + c)) + n for r in rows for c, n in zip(columns, noise[:EDGE])))
    grey = array.array("H", (value + byte for value, byte in zip(grey, noise)))
    for _ in range(12):
        spot = source.randrange(10, EDGE - 10) * EDGE + source.randrange(10, EDGE - 10)
        for line in range(4):
            grey[spot + line * EDGE : spot + line * EDGE + 4] = array.array("H", [3900] * 4)
    return grey.tobytes()


def write_patient(folder, patient, files, sparse, texture):
    folder.mkdir(parents=True)
    uid = f"1.2.826.0.1.3680043.8.498.{patient + 1}"
    data = header(patient, uid)
    coronal = set(random.Random(patient).sample(range(files), round(files * CORONAL_IN_1000 / 1000)))
    for number in range(files):
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{uid}.5.{number + 1}"
        data.InstanceNumber = number + 1
        data.ImagePositionPatient = ["-36.4", "134.6", f"{number / 10:.1f}"]
        data.ImageOrientationPatient = CORONAL if number in coronal else OTHERS[number % len(OTHERS)]
        shift = 2 * (number * 977 % (EDGE * EDGE))
        data.PixelData = picture(patient, number) if number in coronal else texture[shift:] + texture[:shift]
        path = folder / f"I{number:07}"
        data.save_as(path, enforce_file_format=True)
        if sparse and number not in coronal:
            size = path.stat().st_size
            with open(path, "r+b") as file:
                file.truncate(size - PIXELS)
                file.truncate(size)


def main(output, patients, files, sparse):
    texture = picture(0, -1)
    for patient in range(patients):
        write_patient(pathlib.Path(output) / f"{patient:04}" / "DICOM", patient, files, sparse, texture)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), "sparse" in sys.argv)
