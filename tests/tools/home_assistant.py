"""Checks messages for Home Assistant with its own code: the announcements by the schemas of its MQTT
integration, the values and events by its templates.

Reads a JSON list of {"topic", "payload"} from standard input. Needs the package homeassistant (2024.12 or
later, with paho-mqtt), which needs Python 3.13.
"""

import asyncio
import importlib
import json
import logging
import sys
import tempfile

from homeassistant.components.mqtt import abbreviations, discovery, schemas
from homeassistant.components.sensor import DEVICE_CLASS_UNITS, SensorDeviceClass
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant


def component_schema(platform):
    """The schema by which the integration reads one component."""
    return importlib.import_module(f"homeassistant.components.mqtt.{platform}").DISCOVERY_SCHEMA


def check_announcement(topic, payload):
    """Reads an announcement as async_discovery_message_received does; returns the components by topic."""
    assert discovery.TOPIC_MATCHER.match(topic.split("/", 1)[1]), topic
    device = json.loads(payload)
    discovery._replace_all_abbreviations(device)
    schemas.DEVICE_DISCOVERY_SCHEMA(device)
    read = []
    for key, component in device["components"].items():
        platform = component.pop("platform")
        if not component:
            continue
        component["device"] = device["device"]
        component["origin"] = device["origin"]
        discovery._merge_common_device_options(component, device)
        known = component_schema(platform)(dict(component))
        # REMOVE_EXTRA drops what it does not know, without a word: of what a component has of its own,
        # nothing may be lost.
        lost = set(component) - set(known) - set(schemas.SHARED_OPTIONS)
        assert not lost, (topic, key, lost)
        if platform == "sensor" and known.get("device_class"):
            units = DEVICE_CLASS_UNITS.get(SensorDeviceClass(known["device_class"]))
            unit = known.get("unit_of_measurement")
            assert units is None or unit in units, (key, unit)
        read.append((platform, key, known))
    return read


def check_value(platform, key, known, payload):
    """Renders a message as the entity does."""
    value = json.loads(payload)
    template = known.get("value_template")
    if platform == "event":
        assert value["event_type"] in known["event_types"], value
        return
    text = str(template.async_render_with_possible_json_value(payload))
    if text == "None":
        return
    if platform == "binary_sensor":
        assert text in ("ON", "OFF"), (key, text)
    elif known.get("options"):
        assert text in known["options"], (key, text)
    elif known.get("unit_of_measurement") or known.get("state_class"):
        float(text)
    assert len(text) <= 255, (key, text)


async def main():
    # Templates ask for it; it is not started.
    hass = HomeAssistant(tempfile.mkdtemp())
    # That this is not the whole of Home Assistant.
    logging.disable()
    messages = json.load(sys.stdin)
    components = []
    announcements = values = 0
    for message in messages:
        if message["topic"].endswith("/config") and message["payload"]:
            components += check_announcement(message["topic"], message["payload"])
            announcements += 1
    for message in messages:
        for platform, key, known in components:
            if known.get("state_topic") == message["topic"] and platform != "button":
                check_value(platform, key, known, message["payload"])
                values += 1
    assert abbreviations.ABBREVIATIONS["cmps"] == "components"
    print(
        f"Home Assistant {__version__}: {announcements} announcements with {len(components)} "
        f"components, and {values} values, are as it wants them."
    )
    assert hass and announcements and values


asyncio.run(main())
