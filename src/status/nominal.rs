//! The hash rate on each model's data sheet, to compare with the rate that its shares prove.

/// Hashes per second of a model in the words of [`crate::stratum::firmware`]; `None` where models
/// of one name differ too much. The least of what is sold under the name, so that nobody is told of
/// a fault that is none.
pub fn nominal(model: &str) -> Option<f64> {
    const TABLE: [(&str, f64); 14] = [
        // Several chips of one kind under one name; first match counts.
        ("NerdOCTAXE", 8.8e12),
        ("NerdQX", 8.8e12),
        ("NerdQAxe++", 4.6e12),
        ("NerdQAxe+", 2.4e12),
        ("NerdQAxe", 1.6e12),
        ("NerdNOS", 0.3e12),
        ("BM1370", 1.1e12),
        ("BM1368", 0.6e12),
        ("BM1366", 0.45e12),
        ("BM1397", 0.35e12),
        ("Antminer S9", 11e12),
        ("Antminer S19", 90e12),
        ("Antminer S21", 180e12),
        ("NerdMiner", 50e3),
    ];
    TABLE.iter().find(|(name, _)| model.contains(name)).map(|(_, rate)| *rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stratum::firmware::identify;

    #[test]
    fn user_agents_lead_to_their_data_sheets() {
        let rate = |agent| nominal(&identify(agent, &[]).model);
        assert_eq!(rate("bitaxe/BM1370/v2.13.1"), Some(1.1e12));
        assert_eq!(rate("NerdQAxe++/BM1370/v1.0.36"), Some(4.6e12));
        assert_eq!(rate("NerdQAxe+/BM1368/v1.0.20"), Some(2.4e12));
        assert_eq!(rate("cgminer/4.10.0"), None);
    }
}
