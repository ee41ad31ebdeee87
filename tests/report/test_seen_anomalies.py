"""The section of the report that shows which anomalies were learnt from."""

import re
from dataclasses import replace

from made_run import images_in

from fsad.report.sections.seen import seen_anomalies


def test_the_anomalies_are_shown_and_named_in_the_order_of_the_draw(dataset, made):
    files = [file for file, defect in images_in(dataset, "knob") if defect != "good"]
    files = [files[3], files[0]]
    result = replace(made[1]["knob"].result, anomalies=files, shots=[])
    (section,) = seen_anomalies({"knob": result}, dataset)
    shown = re.findall(r'<img src="data:image/jpeg;base64,[^"]+" alt="([^"]+)"', section.html)
    assert shown == files
    assert section.html.index(f">{files[0]}</td>") < section.html.index(f">{files[1]}</td>")


def test_without_the_data_set_they_are_named_and_a_run_without_any_has_no_section(made):
    result = replace(made[1]["knob"].result, shots=[])
    assert seen_anomalies({"knob": result}, None) == []
    (section,) = seen_anomalies({"knob": replace(result, anomalies=["<a>.png"])}, None)
    assert "<img" not in section.html
    assert "&lt;a&gt;.png" in section.html


def test_with_few_good_images_known_too_both_are_references_and_masks_are_shown(dataset, made):
    normal = made[1]["knob"].result.shots[:1]
    defective = [file for file, defect in images_in(dataset, "knob") if defect != "good"][:1]
    result = replace(made[1]["knob"].result, shots=normal, anomalies=defective)
    (section,) = seen_anomalies({"knob": result}, dataset)
    assert section.title == "References"
    shown = re.findall(r'<img src="data:image/\w+;base64,[^"]+" alt="([^"]+)"', section.html)
    assert shown == [*normal, *defective, f"mask of {defective[0]}"]
    assert [row in section.html for row in (">normal</td>", ">defective</td>")] == [True, True]
