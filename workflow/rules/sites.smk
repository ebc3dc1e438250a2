# Other sites: what they have measured comes in, what was measured here goes out.
#
# The folders of a site's devices are outputs of the rule that lays them down; all else knows of them by the plan.


for site, export in EXPORTS.items():

    rule:
        name:
            f"import_{layout.rule_name(site)}"
        input:
            str(export.path),
        output:
            layout.site_file(site),
            confirmations_of(export),
            [directory(place) for place in places_of(export)],
        log:
            f"logs/sites/{site}.log",
        conda:
            CONTROL_YAML
        localrule: True
        shell:
            '"$HWFIT_PYTHON" -m hwfit import --export {input:q} > {log:q} 2>&1'


if TAKEN:

    # In place of training, exporting or compressing: the same bytes as at the other site.
    ruleorder: take_artifact > prepare_model > export_model > compress_model > make_file

    rule take_artifact:
        input:
            study.config.artifacts_from,
        output:
            "results/{taken}/card.json",
        wildcard_constraints:
            taken="|".join(map(re.escape, TAKEN)),
        log:
            "logs/taken/{taken}.log",
        conda:
            CONTROL_YAML
        localrule: True
        shell:
            '"$HWFIT_PYTHON" -m hwfit take --export {input:q} --artifact {wildcards.taken:q} > {log:q} 2>&1'


# `snakemake export --config to=FILE artifacts=true`. No output, so that it runs whenever it is asked for.
rule export:
    input:
        plan="results/plan.json",
        profiles=search.first_looks(checkpoints),
        confirmations=[layout.confirmation_file(device) for device in plan.devices],
        inventories=[layout.inventory_file(device) for device in plan.described_devices],
        training=RUN_TABLE,
    params:
        options=EXPORT_OPTIONS,
    log:
        "logs/export.log",
    conda:
        CONTROL_YAML
    localrule: True
    retries: 0
    shell:
        '"$HWFIT_PYTHON" -m hwfit export --plan {input.plan:q} {params.options:q} 2>&1 | tee {log:q}'
