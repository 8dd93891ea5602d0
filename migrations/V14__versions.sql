-- What a bill or a digest depends on beside its data is stored with it, so that a change of code changes neither
-- (docs/decisions/033 and 037).

ALTER TABLE usage_load ADD COLUMN digest_version smallint NOT NULL DEFAULT 1 CHECK (digest_version >= 1);
COMMENT ON COLUMN usage_load.digest_version IS
    'The canonical form that digest is of: the lowest version whose columns hold all that the records have. 1: the 14 columns of the first report.';

ALTER TABLE price ADD COLUMN pricing_model text NOT NULL DEFAULT 'graduated' CHECK (pricing_model IN ('graduated'));
ALTER TABLE price ADD COLUMN rounding_mode text NOT NULL DEFAULT 'half_away_from_zero'
    CHECK (rounding_mode IN ('half_away_from_zero', 'half_even'));
COMMENT ON COLUMN price.pricing_model IS
    'How tiers price a quantity. graduated: each tier prices the part of the quantity that falls into it.';
COMMENT ON COLUMN price.rounding_mode IS
    'How the cost of a line is rounded, once, to the minor unit of the currency: half_away_from_zero or half_even.';
COMMENT ON TABLE price IS
    'A price of a meter, in force from a month on. Never updated: a correction supersedes it, so that past bills can be shown again.';
