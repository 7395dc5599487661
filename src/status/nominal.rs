//! The hash rate on each model's data sheet, to compare with the rate that its shares prove.

/// Hashes per second of one chip.
const CHIPS: [(&str, f64); 4] =
    [("BM1370", 1.1e12), ("BM1368", 0.6e12), ("BM1366", 0.45e12), ("BM1397", 0.35e12)];

/// How many chips the machine has whose model begins so. From the firmwares' own sources; a machine that
/// is not here may have any number.
const MACHINES: [(&str, f64); 9] = [
    ("Bitaxe", 1.0),
    ("LuckyMiner", 1.0),
    ("NerdAxe", 1.0),
    ("NerdQAxe", 4.0),
    ("NerdQX", 4.0),
    ("Q1370", 4.0),
    ("NerdHaxe", 6.0),
    ("NerdOCTAXE", 8.0),
    ("NerdEKO", 12.0),
];

/// Models that do not say their chip, or are known as a whole; first match counts.
const WHOLE: [(&str, f64); 8] = [
    ("NMAxeGamma", 1.1e12),
    ("NMAxe", 0.45e12),
    ("NMQAxe++", 4.4e12),
    ("NerdNOS", 0.3e12),
    ("Antminer S9", 11e12),
    ("Antminer S19", 90e12),
    ("Antminer S21", 180e12),
    ("NerdMiner", 50e3),
];

/// Hashes per second of a model in the words of [`crate::stratum::firmware`]; `None` where models
/// of one name differ too much. The least of what is sold under the name, so that nobody is told of
/// a fault that is none.
pub fn nominal(model: &str) -> Option<f64> {
    if let Some((_, rate)) = WHOLE.iter().find(|(name, _)| model.starts_with(name)) {
        return Some(*rate);
    }
    let (_, chips) = MACHINES.iter().find(|(name, _)| model.starts_with(name))?;
    let (_, rate) = CHIPS.iter().find(|(chip, _)| model.contains(chip))?;
    Some(chips * rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::firmware::identify;

    #[test]
    fn user_agents_lead_to_their_data_sheets() {
        for (agent, chips, chip) in [
            ("bitaxe/BM1370/v2.13.1", 1.0, 1.1e12),
            ("NerdAxe/BM1366/v1.0.38", 1.0, 0.45e12),
            ("NerdQAxe++/BM1370/v1.0.36", 4.0, 1.1e12),
            ("NerdQAxe+/BM1368/v1.0.20", 4.0, 0.6e12),
            ("NerdQX/BM1370/v1.0.38", 4.0, 1.1e12),
            ("Q1370/BM1370/v1.0.38", 4.0, 1.1e12),
            ("NerdHaxe-γ/BM1370/v1.0.38", 6.0, 1.1e12),
            ("NerdOCTAXE-γ/BM1370/v1.0.36", 8.0, 1.1e12),
            ("NerdOCTAXE+/BM1368/v1.0.38", 8.0, 0.6e12),
            ("NerdEKO/BM1370/v1.0.38", 12.0, 1.1e12),
            ("NMQAxe++Rev6.1/v3.1.03", 4.0, 1.1e12),
            ("NMAxeGamma/v3.1.03", 1.0, 1.1e12),
            ("NMAxe/v3.0.11", 1.0, 0.45e12),
        ] {
            assert_eq!(nominal(&identify(agent, &[]).model), Some(chips * chip), "{agent}");
        }
    }

    #[test]
    fn one_chip_says_nothing_of_a_machine_that_may_have_many() {
        for agent in ["cgminer/4.10.0", "Q1373/BM1373/v1", "NerdNEW/BM1370/v1", "Zyber8/BM1370"] {
            assert_eq!(nominal(&identify(agent, &[]).model), None, "{agent}");
        }
    }
}
