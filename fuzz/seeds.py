"""Small whole files of every format, to be spoilt."""

from __future__ import annotations

import io
import zipfile

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_OPEN = "urn:oasis:names:tc:opendocument:xmlns"

CSV = (
    b'sep=;\nServers of the north;;\n\nName;OS;RAM\nsrv1;"Linux; 8";1.024,5\nsrv2;;4096\n# remark\nTotal;;5120,5\n\n'
    b"Source;Destination;Port\nsrv1;srv2;443\n"
)
JSON = (
    b'{"at": "2025-06-01", "VirtualMachines": [{"Name": "srv1", "Cpu": {"Cores": 4}, "Ips": ["10.0.0.1"],'
    b' "Disks": [{"GB": 10}, {"GB": 2e1}]}, {"Name": "srv2\\u00e9", "On": true, "Note": null}], "none": []}'
)
NDJSON = b'{"name": "srv1", "cpu": 4}\n{"name": "srv2", "tags": ["a", "b"], "disks": [{"gb": 1}]}\n\n{"name": "srv3"}\n'
XML = (
    b'<?xml version="1.0" encoding="UTF-8"?><inventory date="2025-06-01"><servers><server id="1"><name>a &amp; b</name>'
    b'<disk gb="4"/><disk gb="5"/></server><server id="2"><name><![CDATA[c]]></name></server></servers></inventory>'
)


def zipped(parts: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these parts; stored as they are, so that a changed byte is a changed byte of a part."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


XLSX_PARTS: dict[str, bytes] = {
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId1" Type="{_OFFICE}/officeDocument"'
    ' Target="xl/workbook.xml"/></Relationships>'.encode(),
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><workbookPr date1904="0"/><sheets>'
    '<sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>'.encode(),
    "xl/_rels/workbook.xml.rels": (
        f'<Relationships xmlns="{_PACKAGE}">'
        f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{_OFFICE}/sharedStrings" Target="sharedStrings.xml"/>'
        f'<Relationship Id="rId3" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>'
    ).encode(),
    "xl/styles.xml": (
        f'<styleSheet xmlns="{_MAIN}"><numFmts count="1"><numFmt numFmtId="164" formatCode="0.0 &quot;GB&quot;"/></numFmts>'
        '<cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/></cellXfs></styleSheet>'
    ).encode(),
    "xl/sharedStrings.xml": (
        f'<sst xmlns="{_MAIN}"><si><t>Name</t></si><si><t>Since</t></si><si><r><t>R</t></r><r><t>AM</t></r></si>'
        "<si><t>srv_x000D_1</t></si></sst>"
    ).encode(),
    "xl/worksheets/sheet1.xml": (
        f'<worksheet xmlns="{_MAIN}"><dimension ref="A1:C9"/><sheetData><row r="2"><c r="A2" t="s"><v>0</v></c>'
        '<c r="B2" t="s"><v>1</v></c><c r="C2" t="s"><v>2</v></c></row><row r="3" hidden="1"><c r="A3" t="s"><v>3</v></c>'
        '<c r="B3" s="1"><v>45000</v></c><c r="C3" s="2"><f>A1*2</f><v>16</v></c></row><row r="4"/><row r="5">'
        '<c r="A5" t="inlineStr"><is><t>srv2</t></is></c><c r="B5" t="e"><v>#REF!</v></c><c r="C5" t="b"><v>1</v></c></row>'
        '</sheetData><mergeCells count="1"><mergeCell ref="A5:A6"/></mergeCells></worksheet>'
    ).encode(),
}
XLSX = zipped(XLSX_PARTS)
ODS_PARTS: dict[str, bytes] = {
    "mimetype": b"application/vnd.oasis.opendocument.spreadsheet",
    "content.xml": (
        f'<office:document-content xmlns:office="{_OPEN}:office:1.0" xmlns:table="{_OPEN}:table:1.0"'
        f' xmlns:text="{_OPEN}:text:1.0"><office:body><office:spreadsheet><table:table table:name="S"><table:table-row>'
        '<table:table-cell office:value-type="string"><text:p>Name</text:p></table:table-cell>'
        '<table:table-cell office:value-type="string" table:number-columns-spanned="2"><text:p>RAM</text:p></table:table-cell>'
        '</table:table-row><table:table-row table:number-rows-repeated="3"><table:table-cell office:value-type="string">'
        '<text:p>srv<text:s text:c="2"/></text:p></table:table-cell><table:table-cell office:value-type="float"'
        ' office:value="4"/></table:table-row></table:table></office:spreadsheet></office:body></office:document-content>'
    ).encode(),
}
ODS = zipped(ODS_PARTS)
ZIP = zipped({"a.csv": b"name,os\na,x\n", "b/c.json": b'[{"name": "b"}]', "Thumbs.db": b"x"})

SEEDS: dict[str, bytes] = {
    "e.csv": CSV, "e.json": JSON, "e.ndjson": NDJSON, "e.xml": XML, "e.xlsx": XLSX, "e.ods": ODS, "e.zip": ZIP,
}  # fmt: skip
