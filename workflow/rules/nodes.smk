# Classes of nodes of a cluster: their jobs are submitted, and find out for themselves which node they came to.
# Their resources come from the section `slurm` of devices.yaml.


for device in submission.classes:

    rule:
        name:
            f"probe_{layout.rule_name(device)}"
        output:
            layout.probe_file(device),
        params:
            # What there is at the login node says nothing of them.
            accelerator=study.devices[device].accelerator,
            index=study.devices[device].index,
            cores=study.devices[device].cores or [],
        log:
            f"logs/probe/{device}.log",
        conda:
            CONTROL_YAML
        envmodules:
            *submission.modules(device),
        resources:
            **submission.to_probe(device),
        retries: submission.retries(device)
        shell:
            '"$HWFIT_PYTHON" -m hwfit.worker probe --accelerator {params.accelerator:q}'
            " --index {params.index:q} --cores {params.cores:q} --output {output:q} > {log:q} 2>&1"


for device in submission.classes:

    rule:
        name:
            f"inventory_{layout.rule_name(device)}"
        input:
            probe=layout.probe_file(device),
            environments=[
                layout.environment_file(plan.environment(device, runtime))
                for runtime in plan.runtimes_of(device)
            ],
        output:
            layout.inventory_file(device),
        params:
            device=device,
            identities=layout.identities_directory(device),
            environments=json.dumps(
                {
                    runtime: layout.environment_file(plan.environment(device, runtime))
                    for runtime in plan.runtimes_of(device)
                }
            ),
        log:
            f"logs/inventory/{device}.log",
        conda:
            CONTROL_YAML
        envmodules:
            *submission.modules(device),
        threads: ALL_CORES  # it measures peaks
        resources:
            **submission.to_take_stock(device),
        retries: submission.retries(device)
        shell:
            '"$HWFIT_PYTHON" -m hwfit.worker inventory --device {params.device:q} --probe {input.probe:q}'
            " --identities {params.identities:q} --environments {params.environments:q}"
            " --output {output:q} > {log:q} 2>&1"
