"""Masks go out of a run's page and come in again."""

import io
import zipfile

from playwright.sync_api import expect


def test_masks_that_go_out_come_in_again_and_what_is_none_is_named(page, server, run, slices, tmp_path, shot):
    page.goto(f"{server.url}/runs/{run}")
    patient = slices[0]["patient"]
    page.locator("#whose").select_option(patient)
    with page.expect_download() as download:
        page.get_by_role("link", name="Mask PNGs").click()
    assert download.value.suggested_filename == f"masks-{patient}.zip"
    with zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes())) as masks:
        masks.extractall(tmp_path)
        names = [name for name in masks.namelist() if name.endswith(".png")]
    assert len(names) == len([one for one in slices if one["patient"] == patient])
    first = tmp_path / names[0]
    renamed = first.rename(tmp_path / names[0].replace("/", "_"))
    (tmp_path / "nobody_I1.json").write_text("{}")
    page.locator("#annotations").set_input_files([renamed, tmp_path / "nobody_I1.json"])
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#imported")).to_have_text("1 mask imported, 1 file not taken.")
    expect(page.get_by_role("row", name="nobody_I1.json")).to_contain_text("no kept slice has this name")
    page.locator("#imported").scroll_into_view_if_needed()
    shot(page, "exchange")
    name = names[0].split("/")[1][:-4]
    imported = next(one for one in server.get(f"runs/{run}/slices?patient={patient}")["slices"] if one["name"] == name)
    assert imported["annotation"]["state"] in ("accepted", "rejected")


def test_a_zip_comes_in_and_over_what_was_drawn_since_only_when_it_shall(page, server, run, slices, tmp_path):
    patient = slices[-1]["patient"]
    page.goto(f"{server.url}/runs/{run}")
    page.locator("#whose").select_option(patient)
    with page.expect_download() as download:
        page.get_by_role("link", name="Mask PNGs").click()
    masks = tmp_path / "masks.zip"
    download.value.save_as(masks)
    page.locator("#annotations").set_input_files(masks)
    count = len([one for one in slices if one["patient"] == patient])
    plural = "" if count == 1 else "s"
    import_now, said = page.get_by_role("button", name="Import"), page.locator("#imported")
    for url in ["**/annotations", "**/annotations?force=true"]:
        with page.expect_request(url):
            import_now.click()
        expect(said).to_have_text(f"{count} mask{plural} imported.")
        page.get_by_label("also over what was drawn since they went out").check()


def test_a_run_that_has_nothing_to_replay_or_cancel_offers_neither(page, server, run):
    page.goto(f"{server.url}/runs/{run}")
    expect(page.locator("#state")).to_have_text("done")
    for button in ["Cancel the run", "Replay", "Drop", "Go on"]:
        expect(page.get_by_role("button", name=button)).to_have_count(0)


def test_what_to_annotate_next_is_ordered_by_patient_or_by_uncertainty(page, server, slices, shot):
    page.goto(f"{server.url}/work")
    rows = page.locator("tbody tr")
    patients = {one["patient"] for one in slices}
    first = [rows.nth(at).inner_text() for at in range(len(patients))]
    assert {patient for patient in patients if any(patient in row for row in first)} == patients, "one slice of each comes first"
    shot(page, "work-by-patient")
    page.get_by_role("link", name="What the model is least sure of").click()
    page.wait_for_url("**by=uncertainty")
    unsure = [one["slice"]["uncertainty"] for one in server.get("work?by=uncertainty")]
    assert unsure == sorted(unsure, reverse=True)
    shot(page, "work-by-uncertainty")
