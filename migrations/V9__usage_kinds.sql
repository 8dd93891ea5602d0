-- Of a thousand records that follow each other, few differ in anything but their asset and amount. So a block has each such
-- kind of record once, and of each record its number: three arrays of a thousand elements where there were five or six
-- (docs/decisions/028).

-- Imports that are running end first, and reports go on meanwhile. From the next statement on they wait.
LOCK TABLE usage_block IN SHARE MODE;

-- The new name makes programs of before fail, where they would read kinds as if there were one for each record.
ALTER TABLE usage_block RENAME COLUMN kinds TO kind_codes;
ALTER TABLE usage_block ADD COLUMN kind_numbers smallint[];
-- Those that say that kinds, period_starts, period_ends and trial_expiries have as many elements as asset_keys.
ALTER TABLE usage_block
    DROP CONSTRAINT usage_block_check,
    DROP CONSTRAINT usage_block_check1,
    DROP CONSTRAINT usage_block_check2,
    DROP CONSTRAINT usage_block_check4;

UPDATE usage_block b
SET (kind_numbers, kind_codes, period_starts, period_ends, trial_expiries) = (
    SELECT array_agg(number ORDER BY place),
           array_agg(code ORDER BY number) FILTER (WHERE is_first),
           array_agg(period_start ORDER BY number) FILTER (WHERE is_first),
           array_agg(period_end ORDER BY number) FILTER (WHERE is_first),
           CASE WHEN bool_or(trial_expiry IS NOT NULL) THEN
               array_agg(trial_expiry ORDER BY number) FILTER (WHERE is_first)
           END
    FROM (
        SELECT r.*,
               dense_rank() OVER (ORDER BY code, period_start, period_end, trial_expiry)::smallint AS number,
               row_number() OVER (PARTITION BY code, period_start, period_end, trial_expiry ORDER BY place) = 1
                   AS is_first
        FROM unnest(b.kind_codes, b.period_starts, b.period_ends, b.trial_expiries)
            WITH ORDINALITY AS r (code, period_start, period_end, trial_expiry, place)
    ) AS numbered
);

ALTER TABLE usage_block
    ALTER COLUMN kind_numbers SET NOT NULL,
    ADD CONSTRAINT usage_block_kind_numbers_check CHECK (cardinality(kind_numbers) = cardinality(asset_keys)),
    ADD CONSTRAINT usage_block_kind_codes_check CHECK (cardinality(kind_codes) BETWEEN 1 AND cardinality(asset_keys)),
    ADD CONSTRAINT usage_block_period_starts_check CHECK (cardinality(period_starts) = cardinality(kind_codes)),
    ADD CONSTRAINT usage_block_period_ends_check CHECK (cardinality(period_ends) = cardinality(kind_codes)),
    ADD CONSTRAINT usage_block_trial_expiries_check CHECK (cardinality(trial_expiries) = cardinality(kind_codes));
COMMENT ON COLUMN usage_block.kind_numbers IS
    'Which kind each record is of: the place of the kind in kind_codes, period_starts, period_ends and trial_expiries, from 1.';
COMMENT ON COLUMN usage_block.kind_codes IS
    'The small columns of each kind in one number: meter_key * 512 + asset_type * 64 + billing_region * 8 + platform * 2 + trial, with 0 for no platform.';
COMMENT ON COLUMN usage_block.period_starts IS 'The first moment of the period of each kind.';
COMMENT ON COLUMN usage_block.period_ends IS 'The first moment after it; at most 24 h later and not past the month.';
COMMENT ON COLUMN usage_block.quantities IS 'The amount measured of each record, with its digits as delivered.';
COMMENT ON COLUMN usage_block.trial_expiries IS
    'When the trial of records of each kind expires or expired; null: that of none does.';

-- Arrays are taken out of their compressed form once for a block, by adding nothing to them, and not for each record.
CREATE OR REPLACE VIEW usage_record AS
SELECT b.tenant_key,
       b.usage_month,
       b.load_id,
       (b.block_number - 1) * 1024 + r.place::integer AS row_number,
       r.asset_key,
       k.codes[r.kind_number] >> 9 AS meter_key,
       (k.codes[r.kind_number] >> 6 & 7)::smallint AS asset_type,
       k.starts[r.kind_number] AS period_start,
       k.ends[r.kind_number] AS period_end,
       r.quantity,
       (k.codes[r.kind_number] >> 3 & 7)::smallint AS billing_region,
       nullif(k.codes[r.kind_number] >> 1 & 3, 0)::smallint AS platform,
       k.codes[r.kind_number] & 1 = 1 AS trial,
       k.expiries[r.kind_number] AS trial_expiry
FROM usage_block b
CROSS JOIN LATERAL (
    SELECT b.kind_codes || '{}'::bigint[] AS codes,
           b.period_starts || '{}'::timestamptz[] AS starts,
           b.period_ends || '{}'::timestamptz[] AS ends,
           b.trial_expiries || '{}'::timestamptz[] AS expiries
    OFFSET 0
) AS k
CROSS JOIN LATERAL unnest(b.asset_keys, b.kind_numbers, b.quantities)
    WITH ORDINALITY AS r (asset_key, kind_number, quantity, place);
