use bootyard_core::iscsi::wire::request::{Login, ScsiCommand};
use bootyard_core::iscsi::wire::{Frame, Payload};

use super::*;

const STEPS: [Timed; 5] = [
    (Step::Login { firmware: true }, 0),
    (Step::Read { lba: 2048, blocks: 8 }, 3),
    (Step::Login { firmware: false }, 1200),
    (Step::Write { lba: 1 << 33, blocks: 256 }, 0),
    (Step::Flush, 17),
];

#[test]
fn what_is_written_is_read() -> Result<()> {
    let text = format("a boot\nof a test", &STEPS)?;
    assert!(text.starts_with("# a boot\n# of a test\nL 1 0 0\nR 2048 8 3\n"), "{text}");
    assert_eq!(parse(&text)?, STEPS);
    for wrong in ["R 1 2", "X 1 2 3", "R a 2 3"] {
        assert!(parse(&format!("{text}{wrong}\n")).is_err_and(|e| e.to_string().contains("line 8")), "{wrong}");
    }
    Ok(())
}

fn pdu(request: &Request, data: &[u8]) -> Result<Vec<u8>> {
    let bhs = request.encode().context("known")?;
    Ok(Frame::new(bhs, Payload::Owned(data.to_vec()), &Framing::login(u32::MAX)).parts().concat())
}

fn command(cdb: &[u8], data: &[u8]) -> Result<Vec<u8>> {
    let mut whole = [0; 16];
    whole.get_mut(..cdb.len()).context("a CDB")?.copy_from_slice(cdb);
    let command = ScsiCommand {
        immediate: false,
        last: true,
        read: data.is_empty(),
        write: !data.is_empty(),
        attribute: 1,
        lun: [0; 8],
        itt: 1,
        expected: 512,
        cmd_sn: 1,
        exp_stat_sn: 0,
        cdb: whole,
    };
    pdu(&Request::Command(command), data)
}

/// A captured frame at `millis` with this part of the stream.
fn frame(millis: u32, seq: u32, flags: u8, data: &[u8]) -> Result<Vec<u8>> {
    let mut f = vec![0; 12];
    f.extend([8, 0, 0x45, 0]);
    f.extend(u16::try_from(40 + data.len())?.to_be_bytes());
    f.extend([0, 0, 0, 0, 64, 6, 0, 0, 192, 168, 77, 20, 192, 168, 77, 1]);
    f.extend(50000_u16.to_be_bytes());
    f.extend(3260_u16.to_be_bytes());
    f.extend(seq.to_be_bytes());
    f.extend([0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
    f.extend(data);
    let len = u32::try_from(f.len())?;
    let mut record: Vec<u8> = [7, millis * 1000, len, len].iter().flat_map(|n| n.to_le_bytes()).collect();
    record.extend(f);
    Ok(record)
}

#[test]
fn a_capture_with_segments_out_of_order_and_twice_is_understood() -> Result<()> {
    let login = Login {
        transit: true,
        more: false,
        stage: 1,
        next: 3,
        version_max: 0,
        version_min: 0,
        isid: [0x40, 0, 0x27, 0x23, 9, 9],
        tsih: 0,
        itt: 0,
        cid: 0,
        cmd_sn: 1,
        exp_stat_sn: 0,
    };
    let mut stream = pdu(&Request::Login(login), b"InitiatorName=iqn.x\0")?;
    stream.extend(command(&[0x28, 0, 0, 0, 8, 0, 0, 0, 8, 0], &[])?);
    stream.extend(command(&[0x12, 0, 0, 0, 36, 0], &[])?);
    stream.extend(command(&[0x8a, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], &[1; 512])?);
    stream.extend(command(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[])?);
    // The numbers of the bytes pass 2^32 on the way.
    let first = u32::MAX - 60;
    let seq = |at: usize| -> Result<u32> { Ok(first.wrapping_add(1).wrapping_add(u32::try_from(at)?)) };
    let mut pcap: Vec<u8> = [0xa1b2_c3d4_u32, 0, 0, 0, 262_144, 1].iter().flat_map(|n| n.to_le_bytes()).collect();
    pcap.extend(frame(10, first, 2, &[])?);
    pcap.extend(frame(11, seq(0)?, 16, &stream[..50])?);
    pcap.extend(frame(12, seq(100)?, 16, &stream[100..300])?);
    pcap.extend(frame(15, seq(40)?, 16, &stream[40..110])?);
    pcap.extend(frame(15, seq(0)?, 16, &stream[..50])?);
    pcap.extend(frame(40, seq(300)?, 16, &stream[300..])?);
    let steps = [
        (Step::Login { firmware: true }, 0),
        (Step::Read { lba: 2048, blocks: 8 }, 0),
        (Step::Write { lba: 1 << 33, blocks: 256 }, 25),
        (Step::Flush, 0),
    ];
    assert_eq!(of_capture(&pcap)?, steps);

    // Without one of the segments it is not taken for complete.
    let lost: Vec<u8> =
        [pcap.get(..24), Some(&frame(10, first, 2, &[])?), Some(&frame(12, seq(100)?, 16, &stream[100..])?)]
            .into_iter()
            .flatten()
            .flatten()
            .copied()
            .collect();
    assert!(of_capture(&lost).is_err_and(|e| e.to_string().contains("lost")));
    assert!(of_capture(b"something else").is_err());
    Ok(())
}
