# Devices and their software: what is there, and with which Python it is driven. Classes of nodes: nodes.smk.


for device in submission.here:

    rule:
        name:
            f"probe_{layout.rule_name(device)}"
        input:
            # Nothing, or a refusal to submit it.
            require_section(workflow, device, study.devices[device]),
        output:
            layout.probe_file(device),
        params:
            accelerator=study.devices[device].accelerator,
            index=study.devices[device].index,
            cores=study.devices[device].cores or [],
            # What is plugged in or taken out changes this, and with it all that was told of the device.
            seen=presence(
                study.devices[device].accelerator,
                study.devices[device].index,
                study.devices[device].cores,
            ),
        log:
            f"logs/probe/{device}.log",
        conda:
            CONTROL_YAML
        shell:
            '"$HWFIT_PYTHON" -m hwfit.worker probe --accelerator {params.accelerator:q}'
            " --index {params.index:q} --cores {params.cores:q} --output {output:q} > {log:q} 2>&1"


for device, members in plan.composites.items():

    rule:
        name:
            f"probe_{layout.rule_name(device)}"
        input:
            probes=[layout.probe_file(member) for member, _ in members],
        output:
            layout.probe_file(device),
        params:
            device=device,
            members=json.dumps(members),
        log:
            f"logs/probe/{device}.log",
        conda:
            CONTROL_YAML
        localrule: True
        shell:
            '"$HWFIT_PYTHON" -m hwfit.worker unite --device {params.device:q} --members {params.members:q}'
            " --probes {input.probes:q} --output {output:q} > {log:q} 2>&1"


for environment, users in plan.environments.items():

    rule:
        name:
            f"build_{layout.rule_name(environment)}"
        input:
            requirements=str(ENVIRONMENT_FILES[environment]),
            probes=[layout.probe_file(device) for device in users],
        output:
            layout.environment_file(environment),
        params:
            name=environment,
            kind=KIND,
            # What the running Python has, where that is the environment.
            seen=installed_packages() if KIND == "host" else "",
        log:
            f"logs/environments/{environment}.log",
        conda:
            CONDA_FILES[environment]
        localrule: True  # on a cluster at the login node, which reaches a package index
        shell:
            '"$HWFIT_PYTHON" -m hwfit.worker environment --name {params.name:q} --kind {params.kind:q}'
            " --requirements {input.requirements:q} --probes {input.probes:q}"
            " --output {output:q} > {log:q} 2>&1"


rule environments:
    input:
        [layout.environment_file(environment) for environment in plan.environments],
    localrule: True


for device in submission.here:

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
        threads: ALL_CORES  # it measures peaks
        shell:
            '"$HWFIT_PYTHON" -m hwfit.worker inventory --device {params.device:q} --probe {input.probe:q}'
            " --environments {params.environments:q} --output {output:q} > {log:q} 2>&1"


for device, members in plan.composites.items():

    rule:
        name:
            f"inventory_{layout.rule_name(device)}"
        input:
            probe=layout.probe_file(device),
            inventories=[layout.inventory_file(member) for member, _ in members],
        output:
            layout.inventory_file(device),
        params:
            device=device,
            members=json.dumps(members),
        log:
            f"logs/inventory/{device}.log",
        conda:
            CONTROL_YAML
        localrule: True
        shell:
            '"$HWFIT_PYTHON" -m hwfit.worker unite --device {params.device:q} --members {params.members:q}'
            " --inventories {input.probe:q} {input.inventories:q} --output {output:q} > {log:q} 2>&1"
