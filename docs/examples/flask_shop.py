"""A Flask application that sends its customers' orders and profiles."""

from typing import Any

from flask import Flask, Response, current_app, jsonify, request

from worker import BufferFull, BufferUnavailable, IngestError, InvalidRecord, Producer


def create_app() -> Flask:
    """Create the application with one producer: threads can share it, and it survives a fork."""
    app = Flask(__name__)
    app.extensions["ingest"] = Producer.from_env()
    app.add_url_rule("/orders", view_func=order, methods=["POST"])
    app.add_url_rule("/profiles/<identity>", view_func=update, methods=["PUT"])
    app.register_error_handler(InvalidRecord, refused)
    return app


def producer() -> Producer:
    """Return the application's producer."""
    made: Producer = current_app.extensions["ingest"]
    return made


def order() -> tuple[Response, int]:
    """Accept an order. It matters more than its event, so log an event that is not sent."""
    ordered: dict[str, Any] = request.get_json()
    try:
        producer().event("Charged", {"Amount": ordered["amount"]}, identity=ordered["customer"])
    except IngestError as error:  # no room, no Redis, or against the vendor's rules
        current_app.logger.warning("event not sent: %s", error)
    return jsonify(ordered=True), 201


def update(identity: str) -> tuple[Response, int]:
    """Forward a profile. Sending is all this does, so the response reports its failure."""
    try:
        record_id = producer().profile(request.get_json(), identity=identity)
    except (BufferFull, BufferUnavailable):
        return jsonify(error="not now"), 503
    return jsonify(id=record_id), 202


def refused(error: InvalidRecord) -> tuple[Response, int]:
    """Report which fields break which of the vendor's rules."""
    return jsonify(errors=error.errors, code=error.code), 422
